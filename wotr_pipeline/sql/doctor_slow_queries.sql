-- Slowest finished queries of the last hour (runbook 29).
SELECT query_id, user, toFloat64(query_duration_ms) / 1000 AS seconds
FROM system.query_log
WHERE type = 'QueryFinish' AND event_date >= toDate(now() - INTERVAL 1 HOUR)
    AND event_time >= now() - INTERVAL 1 HOUR AND query_duration_ms > {seconds:Float64} * 1000
ORDER BY query_duration_ms DESC
LIMIT 10
