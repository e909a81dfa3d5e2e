-- Newest 50 failed rows
-- Validation failures spike (runbook 2): what was rejected last, and why.
SELECT created_at, id, event_type, source, error_code, error_field, error_message, payload, validation_status
FROM ingested_data
WHERE validation_status = 'failed'
ORDER BY created_at DESC
LIMIT 50
