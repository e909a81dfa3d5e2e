-- Ledger. Enter the dead letters of one object. One that is there already only gets its new place, and the
-- new verdict if no repaired version of it is under way. Gives the number of letters that are new.
WITH entered AS
(
    INSERT INTO dead_letters AS known
    (
        name, origin, batch, generation, object_key, line, reason, field, message, rules_version, source,
        event_type, version, event_id, size, arrived_at, state
    )
    SELECT
        name, :origin, :batch, :generation, :object_key, line, reason, field, message, rules_version, source,
        event_type, version, event_id, size, arrived_at, 'NEW'
    FROM json_to_recordset(CAST(:found AS json)) AS found
    (
        name text, line int, reason text, field text, message text, rules_version text, source text,
        event_type text, version text, event_id text, size bigint, arrived_at timestamptz
    )
    ON CONFLICT (name) DO UPDATE SET
        generation = excluded.generation,
        object_key = excluded.object_key,
        line = excluded.line,
        reason = CASE known.fix_version WHEN 0 THEN excluded.reason ELSE known.reason END,
        field = CASE known.fix_version WHEN 0 THEN excluded.field ELSE known.field END,
        message = CASE known.fix_version WHEN 0 THEN excluded.message ELSE known.message END,
        rules_version = CASE known.fix_version WHEN 0 THEN excluded.rules_version ELSE known.rules_version END
    -- The system column tells an inserted row (0) from an updated one.
    RETURNING id, xmax = 0 AS is_new
), noted AS
(
    INSERT INTO dead_letter_changes (letter_id, who, from_state, to_state, why)
    SELECT id, :who, NULL, 'NEW', 'found in ' || :object_key FROM entered WHERE is_new
    RETURNING 1
)
SELECT count(*) FROM noted
