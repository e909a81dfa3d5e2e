-- One hour anew from the events; the day's other hours are kept as they are.
INSERT INTO curated_refresh
SELECT hour, event_type, source, events, failed, bytes, users, late
FROM events_hourly
WHERE toDate(hour) = toDate(toDateTime({hour:Int64}, 'UTC')) AND hour != toDateTime({hour:Int64}, 'UTC')

UNION ALL

SELECT
    arrival_hour AS hour,
    event_type,
    source,
    count() AS events,
    countIf(validation_status = 'failed') AS failed,
    sum(size_bytes) AS bytes,
    uniqIf(user_id, user_id != '') AS users,
    countIf(timestamp < arrival_hour - INTERVAL 1 HOUR) AS late
FROM ingested_data
WHERE arrival_hour = toDateTime({hour:Int64}, 'UTC')
GROUP BY hour, event_type, source
