-- The sources with the most rejected events from {first} until {until}, with the same of the time from {before} on.
SELECT
    toString(source) AS source,
    sumIf(stats.events, hour >= toDateTime({first:Int64}, 'UTC')) AS events,
    sumIf(stats.failed, hour >= toDateTime({first:Int64}, 'UTC')) AS failed,
    sumIf(stats.events, hour < toDateTime({first:Int64}, 'UTC')) AS earlier_events,
    sumIf(stats.failed, hour < toDateTime({first:Int64}, 'UTC')) AS earlier_failed,
    count() OVER () AS sources
FROM source_stats AS stats
WHERE hour >= toDateTime({before:Int64}, 'UTC') AND hour < toDateTime({until:Int64}, 'UTC')
GROUP BY source
HAVING events > 0
ORDER BY failed DESC, events DESC, source
LIMIT {most:UInt32}
