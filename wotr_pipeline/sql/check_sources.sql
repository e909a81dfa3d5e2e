-- Sources since {since}: their events and failed events, and the same from {first_hour} until then.
SELECT
    toString(source) AS source,
    sumIf(stats.events, hour >= toDateTime({since:Int64}, 'UTC')) AS events,
    sumIf(stats.failed, hour >= toDateTime({since:Int64}, 'UTC')) AS failed,
    sumIf(stats.events, hour < toDateTime({since:Int64}, 'UTC')) AS earlier_events,
    sumIf(stats.failed, hour < toDateTime({since:Int64}, 'UTC')) AS earlier_failed
FROM source_stats AS stats
WHERE hour >= toDateTime({first_hour:Int64}, 'UTC')
GROUP BY source
HAVING events > 0
ORDER BY failed DESC
