-- One hour anew from the failed rows; the day's other hours are kept as they are.
INSERT INTO curated_refresh
SELECT hour, reason, field, source, version, letters, share, first_seen, last_seen, examples
FROM dead_letters_hourly
WHERE toDate(hour) = toDate(toDateTime({hour:Int64}, 'UTC')) AND hour != toDateTime({hour:Int64}, 'UTC')

UNION ALL

SELECT hour, reason, field, source, version, letters, letters / of_source AS share, first_seen, last_seen, examples
FROM
(
    SELECT
        arrival_hour AS hour,
        error_code AS reason,
        replaceRegexpOne(error_field, '\\[[0-9]+\\]', '[]') AS field,
        source,
        version,
        count() AS letters,
        min(created_at) AS first_seen,
        max(created_at) AS last_seen,
        arraySort(groupArraySample(3, 1)(concat(toString(kafka_partition), ':', toString(kafka_offset)))) AS examples
    FROM ingested_data
    WHERE arrival_hour = toDateTime({hour:Int64}, 'UTC') AND validation_status = 'failed'
    GROUP BY ALL
) AS failed
INNER JOIN
(
    SELECT source, count() AS of_source
    FROM ingested_data
    WHERE arrival_hour = toDateTime({hour:Int64}, 'UTC')
    GROUP BY source
) AS every USING (source)
