-- Events of the last hour by type
-- High ingestion latency (runbook 1): what arrives, how much, and how large it is on average.
SELECT
    event_type,
    count() AS events,
    round(avg(size_bytes), 1) AS average_size_bytes,
    countIf(validation_status = 'failed') AS failed
FROM ingested_data
WHERE created_at >= now() - INTERVAL 1 HOUR
GROUP BY event_type
ORDER BY events DESC
