-- Errors of the last hour
-- Which events of type error arrived, by source, with their last moment. Look here first when something is said to be broken.
SELECT
    source,
    count() AS errors,
    uniqExact(user_id) AS users,
    max(created_at) AS last_seen,
    any(JSONExtractString(payload, 'data', 'error_message')) AS example
FROM ingested_data
WHERE event_type = 'error' AND created_at >= now() - INTERVAL 1 HOUR
GROUP BY source
ORDER BY errors DESC
LIMIT 100
