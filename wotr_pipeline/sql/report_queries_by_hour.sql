-- Queries of this database by hour from {first} until {until}: how many, how many failed, and their time.
SELECT
    toInt64(intDiv(toUnixTimestamp(event_time), 3600) * 3600) AS hour,
    countIf(type = 'QueryFinish') AS finished,
    countIf(type != 'QueryFinish') AS failed,
    sumIf(query_duration_ms, type = 'QueryFinish') AS total_ms,
    quantileExactIf(0.95)(query_duration_ms, type = 'QueryFinish') AS p95_ms
FROM system.query_log
WHERE event_date >= toDate(toDateTime({first:Int64})) AND event_date <= toDate(toDateTime({until:Int64}))
    AND event_time >= toDateTime({first:Int64}) AND event_time < toDateTime({until:Int64})
    AND type != 'QueryStart'
    AND (current_database = currentDatabase() OR has(databases, currentDatabase()))
GROUP BY hour
ORDER BY hour
