-- Ledger. NEW letters become RETRYING, each with an attempt on record; others are left out.
WITH chosen AS
(
    SELECT id, attempts + 1 AS attempt, fix_version
    FROM dead_letters
    WHERE id = ANY(:ids) AND state = 'NEW' AND tries < :most_tries
    ORDER BY id
    FOR UPDATE
), begun AS
(
    INSERT INTO dead_letter_attempts (letter_id, attempt, fix_version, who)
    SELECT id, attempt, fix_version, :who FROM chosen
    RETURNING letter_id
), moved AS
(
    UPDATE dead_letters SET state = 'RETRYING', since = now(), tries = tries + 1, attempts = chosen.attempt
    FROM chosen WHERE dead_letters.id = chosen.id
    RETURNING dead_letters.id
)
INSERT INTO dead_letter_changes (letter_id, who, from_state, to_state, why)
SELECT letter_id, :who, 'NEW', 'RETRYING', :why
FROM begun INNER JOIN moved ON moved.id = begun.letter_id
RETURNING letter_id
