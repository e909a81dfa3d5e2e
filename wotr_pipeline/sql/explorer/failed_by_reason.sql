-- Failed rows by reason and source, last 24 hours
-- Validation failures spike (runbook 2): one reason everywhere is a change of the schema, many reasons of one source a bad client.
SELECT
    error_code,
    error_field,
    source,
    count() AS failed,
    min(created_at) AS first_seen,
    max(created_at) AS last_seen
FROM ingested_data
WHERE validation_status = 'failed' AND created_at >= now() - INTERVAL 24 HOUR
GROUP BY error_code, error_field, source
ORDER BY failed DESC
LIMIT 200
