-- The busiest sources since one time, with their share since a later one.
SELECT
    toString(source) AS source,
    count() AS events,
    countIf(validation_status = 'failed') AS failed,
    countIf(created_at >= fromUnixTimestamp64Milli({recent:Int64}, 'UTC')) AS recent_events,
    countIf(validation_status = 'failed' AND created_at >= fromUnixTimestamp64Milli({recent:Int64}, 'UTC')) AS recent_failed
FROM ingested_data
WHERE created_at >= fromUnixTimestamp64Milli({since:Int64}, 'UTC')
GROUP BY source
ORDER BY events DESC, source
LIMIT {most:UInt32}
