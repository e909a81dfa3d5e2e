-- The slowest queries of this database that finished from {first} until {until}, as shapes: without literals, comments,
-- quoted names, or what follows VALUES and FORMAT of an INSERT, since all of these may hold what an event holds.
SELECT
    if(match(query_id, '^[A-Za-z0-9_.:-]{1,64}$'), query_id, '') AS query_id,
    if(match(statement, '^[A-Za-z0-9_ ]{1,64}$'), statement, '') AS statement,
    if(match(run_id, '^[A-Za-z0-9_.:-]{1,64}$'), run_id, '') AS run_id,
    toString(user) AS user,
    toInt64(toUnixTimestamp(query_start_time)) AS began_at,
    query_duration_ms AS duration_ms,
    read_rows,
    read_bytes,
    memory_usage AS memory_bytes,
    replaceRegexpOne(
        replaceRegexpAll(normalizeQuery(query), '"[^"]*"|`[^`]*`', '`?`'),
        '(?is)^(insert\\s.*?\\s(values|format\\s+\\w+))\\b.*$', '\\1'
    ) AS whole,
    if(lengthUTF8(whole) > 400, concat(substringUTF8(whole, 1, 400), ' …'), whole) AS shape
FROM
(
    SELECT
        query_id, user, query_start_time, query_duration_ms, read_rows, read_bytes, memory_usage, query,
        JSONExtractString(log_comment, 'query') AS statement,
        JSONExtractString(log_comment, 'run_id') AS run_id
    FROM system.query_log
    WHERE event_date >= toDate(toDateTime({first:Int64})) AND event_date <= toDate(toDateTime({until:Int64}))
        AND event_time >= toDateTime({first:Int64}) AND event_time < toDateTime({until:Int64})
        AND type = 'QueryFinish'
        AND (current_database = currentDatabase() OR has(databases, currentDatabase()))
    ORDER BY query_duration_ms DESC, event_time_microseconds, query_id
    LIMIT {most:UInt32}
)
ORDER BY duration_ms DESC, began_at, query_id
