-- What the hourly and the daily aggregate count of a day of arrival.
SELECT
    (SELECT sum(events) FROM events_hourly WHERE toDate(hour) = toDate(toDateTime({day:Int64}, 'UTC'))) AS events_hourly,
    (SELECT sum(events) FROM events_daily WHERE day = toDate(toDateTime({day:Int64}, 'UTC'))) AS events_daily
