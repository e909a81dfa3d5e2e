-- Ledger. Attempts whose record was rejected, with the reason, which becomes the letter's.
WITH found AS
(
    SELECT * FROM json_to_recordset(CAST(:found AS json)) AS found
    (
        letter_id bigint, attempt int, topic text, partition int, "offset" bigint,
        reason text, field text, message text, rules_version text
    )
), rejected AS
(
    UPDATE dead_letter_attempts AS attempt
    SET outcome = 'rejected', outcome_at = now(),
        topic = found.topic, partition = found.partition, "offset" = found.offset
    FROM found
    WHERE attempt.letter_id = found.letter_id AND attempt.attempt = found.attempt
        AND attempt.outcome IS DISTINCT FROM 'rejected'
    RETURNING attempt.letter_id, found.reason, found.field, found.message, found.rules_version
)
UPDATE dead_letters AS letter
SET reason = rejected.reason, field = rejected.field, message = rejected.message,
    rules_version = rejected.rules_version
FROM rejected
WHERE letter.id = rejected.letter_id
RETURNING letter.id
