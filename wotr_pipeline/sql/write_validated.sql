INSERT INTO FUNCTION s3(wotr_objects, filename = {key:String}, format = 'Parquet')
SELECT
    kafka_partition, kafka_offset, created_at, id, event_type, source, timestamp,
    user_id, session_id, ip_address, tags, version, size_bytes, warnings
FROM {staging:Identifier}
WHERE ok AND validation_status = 'valid'
