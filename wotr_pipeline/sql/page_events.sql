-- What arrived since a time, by step of time and kind of event. The primary key skips what is older.
SELECT
    toInt64(toUnixTimestamp(toStartOfInterval(created_at, toIntervalSecond({step:UInt32}), 'UTC'))) AS start,
    toString(event_type) AS event_type,
    count() AS events,
    countIf(validation_status = 'failed') AS failed,
    countIf(notEmpty(warnings)) AS warned,
    sum(size_bytes) AS bytes
FROM ingested_data
WHERE created_at >= fromUnixTimestamp64Milli({since:Int64}, 'UTC')
GROUP BY start, event_type
ORDER BY start, event_type
