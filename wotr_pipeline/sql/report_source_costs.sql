-- What each source brought from {first} until {until}, and from {before} until {first}; the sums of all sources beside it.
SELECT
    source, events, failed, bytes, earlier_events, earlier_failed, earlier_bytes,
    count() OVER () AS sources,
    sum(events) OVER () AS all_events,
    sum(failed) OVER () AS all_failed,
    sum(bytes) OVER () AS all_bytes,
    sum(earlier_events) OVER () AS all_earlier_events,
    sum(earlier_failed) OVER () AS all_earlier_failed,
    sum(earlier_bytes) OVER () AS all_earlier_bytes
FROM
(
    SELECT
        toString(source) AS source,
        sumIf(stats.events, hour >= toDateTime({first:Int64}, 'UTC')) AS events,
        sumIf(stats.failed, hour >= toDateTime({first:Int64}, 'UTC')) AS failed,
        sumIf(stats.bytes, hour >= toDateTime({first:Int64}, 'UTC')) AS bytes,
        sumIf(stats.events, hour < toDateTime({first:Int64}, 'UTC')) AS earlier_events,
        sumIf(stats.failed, hour < toDateTime({first:Int64}, 'UTC')) AS earlier_failed,
        sumIf(stats.bytes, hour < toDateTime({first:Int64}, 'UTC')) AS earlier_bytes
    FROM source_stats AS stats
    WHERE hour >= toDateTime({before:Int64}, 'UTC') AND hour < toDateTime({until:Int64}, 'UTC')
    GROUP BY source
)
ORDER BY bytes / greatest(all_bytes, 1) + (events + failed) / greatest(all_events + all_failed, 1) DESC, source
LIMIT {most:UInt32}
