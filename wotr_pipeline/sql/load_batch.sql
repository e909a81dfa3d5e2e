INSERT INTO {target:Identifier}
(
    id, event_type, source, timestamp, payload, size_bytes, validation_status, error_code, error_field,
    error_message, warnings, user_id, session_id, ip_address, tags, version, created_at, arrival_hour,
    kafka_partition, kafka_offset, batch_id
)
SELECT
    id, event_type, source, timestamp, payload, size_bytes, validation_status, error_code, error_field,
    error_message, warnings, user_id, session_id, ip_address, tags, version, created_at, arrival_hour,
    kafka_partition, kafka_offset, batch_id
FROM {staging:Identifier}
WHERE ok AND kafka_offset NOT IN (SELECT kafka_offset FROM {duplicates:Identifier})
