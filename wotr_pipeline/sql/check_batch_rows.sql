-- What the table holds of an arrival hour, by batch.
SELECT
    toString(batch_id) AS batch_id,
    count() AS rows,
    countIf(validation_status = 'failed') AS failed,
    uniqExact(kafka_offset) AS offsets
FROM ingested_data
WHERE arrival_hour = toDateTime({arrival_hour:Int64}, 'UTC')
GROUP BY batch_id
ORDER BY batch_id
