-- Events, rejected and late ones by day and type from {before} until {until}.
SELECT
    toInt64(intDiv(toUnixTimestamp(hour), 86400) * 86400) AS day,
    toString(event_type) AS event_type,
    sum(hourly.events) AS events,
    sum(hourly.failed) AS failed,
    sum(hourly.late) AS late
FROM events_hourly AS hourly
WHERE hour >= toDateTime({before:Int64}, 'UTC') AND hour < toDateTime({until:Int64}, 'UTC')
GROUP BY day, event_type
ORDER BY day, event_type
