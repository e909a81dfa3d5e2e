-- What the table and its hourly aggregates count of an arrival hour.
SELECT
    (SELECT count() FROM ingested_data WHERE arrival_hour = toDateTime({hour:Int64}, 'UTC')) AS rows,
    (
        SELECT count()
        FROM ingested_data
        WHERE arrival_hour = toDateTime({hour:Int64}, 'UTC') AND validation_status = 'failed'
    ) AS failed,
    (SELECT sum(events) FROM events_hourly WHERE hour = toDateTime({hour:Int64}, 'UTC')) AS events_hourly,
    (SELECT sum(events) FROM source_stats WHERE hour = toDateTime({hour:Int64}, 'UTC')) AS source_stats,
    (
        SELECT sum(letters) FROM dead_letters_hourly WHERE hour = toDateTime({hour:Int64}, 'UTC')
    ) AS dead_letters_hourly
