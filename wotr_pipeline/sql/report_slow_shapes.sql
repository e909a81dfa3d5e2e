-- The shapes on which this database spent the most time from {first} until {until}; shapes as in report_slow_queries.
SELECT
    if(match(statement, '^[A-Za-z0-9_ ]{1,64}$'), statement, '') AS statement,
    queries, total_ms, most_ms, read_rows, read_bytes, most_memory_bytes,
    replaceRegexpOne(
        replaceRegexpAll(normalizeQuery(query), '"[^"]*"|`[^`]*`', '`?`'),
        '(?is)^(insert\\s.*?\\s(values|format\\s+\\w+))\\b.*$', '\\1'
    ) AS whole,
    if(lengthUTF8(whole) > 400, concat(substringUTF8(whole, 1, 400), ' …'), whole) AS shape
FROM
(
    SELECT
        any(query) AS query,
        any(JSONExtractString(log_comment, 'query')) AS statement,
        count() AS queries,
        sum(query_duration_ms) AS total_ms,
        max(query_duration_ms) AS most_ms,
        sum(log.read_rows) AS read_rows,
        sum(log.read_bytes) AS read_bytes,
        max(memory_usage) AS most_memory_bytes
    FROM system.query_log AS log
    WHERE event_date >= toDate(toDateTime({first:Int64})) AND event_date <= toDate(toDateTime({until:Int64}))
        AND event_time >= toDateTime({first:Int64}) AND event_time < toDateTime({until:Int64})
        AND type = 'QueryFinish'
        AND (current_database = currentDatabase() OR has(databases, currentDatabase()))
    GROUP BY normalized_query_hash
    ORDER BY total_ms DESC, queries DESC
    LIMIT {most:UInt32}
)
ORDER BY total_ms DESC, queries DESC, shape
