-- Events per minute, last hour
-- High ingestion latency (runbook 1): when the load changed. Draws a chart.
SELECT
    toStartOfMinute(created_at) AS minute,
    count() AS events,
    countIf(validation_status = 'failed') AS failed
FROM ingested_data
WHERE created_at >= now() - INTERVAL 1 HOUR
GROUP BY minute
ORDER BY minute
