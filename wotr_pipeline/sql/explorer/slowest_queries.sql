-- Ten slowest finished queries, last 24 hours
-- Query performance (runbook 29): what costs the most time, and how much it read.
SELECT
    query_start_time,
    query_duration_ms,
    read_rows,
    formatReadableSize(read_bytes) AS read_size,
    formatReadableSize(memory_usage) AS memory,
    user,
    query_id,
    query
FROM system.query_log
WHERE type = 'QueryFinish' AND event_time >= now() - INTERVAL 24 HOUR
ORDER BY query_duration_ms DESC
LIMIT 10
