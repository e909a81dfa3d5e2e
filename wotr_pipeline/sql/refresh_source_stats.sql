INSERT INTO curated_refresh
SELECT
    hour, source, events, failed, failed_share, bytes, average_bytes, p95_bytes,
    event_types, versions, error_codes, first_created_at, last_created_at
FROM source_stats
WHERE toDate(hour) = toDate(toDateTime({hour:Int64}, 'UTC')) AND hour != toDateTime({hour:Int64}, 'UTC')

UNION ALL

SELECT
    arrival_hour AS hour,
    source,
    count() AS events,
    countIf(validation_status = 'failed') AS failed,
    failed / events AS failed_share,
    sum(size_bytes) AS bytes,
    avg(size_bytes) AS average_bytes,
    quantile(0.95)(size_bytes) AS p95_bytes,
    arraySort(groupUniqArray(20)(event_type)) AS event_types,
    arraySort(groupUniqArray(20)(version)) AS versions,
    arraySort(groupUniqArrayIf(20)(error_code, error_code != '')) AS error_codes,
    min(created_at) AS first_created_at,
    max(created_at) AS last_created_at
FROM ingested_data
WHERE arrival_hour = toDateTime({hour:Int64}, 'UTC')
GROUP BY hour, source
