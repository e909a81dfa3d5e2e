-- One day anew from the hours; the month's other days are kept as they are.
INSERT INTO curated_refresh
SELECT day, event_type, events, failed, bytes, sources, busiest_hour, busiest_hour_events
FROM events_daily
WHERE toYYYYMM(day) = toYYYYMM(toDateTime({day:Int64}, 'UTC')) AND day != toDate(toDateTime({day:Int64}, 'UTC'))

UNION ALL

SELECT
    day,
    event_type,
    sum(hour_events) AS events,
    sum(hour_failed) AS failed,
    sum(hour_bytes) AS bytes,
    uniqMerge(hour_sources) AS sources,
    argMax(hour, hour_events) AS busiest_hour,
    max(hour_events) AS busiest_hour_events
FROM
(
    SELECT
        toDate(hour) AS day,
        hour,
        event_type,
        sum(events) AS hour_events,
        sum(failed) AS hour_failed,
        sum(bytes) AS hour_bytes,
        uniqState(source) AS hour_sources
    FROM events_hourly
    WHERE toDate(hour) = toDate(toDateTime({day:Int64}, 'UTC'))
    GROUP BY day, hour, event_type
)
GROUP BY day, event_type
