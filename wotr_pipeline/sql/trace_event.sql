-- The rows of one id, valid and failed. Eight bytes a row are scanned, not the ids.
SELECT
    toString(validation_status) AS status,
    toString(event_type) AS event_type,
    toString(source) AS source,
    timestamp,
    toString(error_code) AS error_code,
    toString(error_field) AS error_field,
    error_message,
    created_at,
    kafka_partition,
    kafka_offset,
    toString(batch_id) AS batch_id
FROM ingested_data
PREWHERE id_hash = sipHash64({id:String})
WHERE id = {id:String}
ORDER BY created_at, kafka_partition, kafka_offset
LIMIT 100
