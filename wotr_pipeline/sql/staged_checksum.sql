SELECT
    count() AS rows,
    sum(cityHash64(kafka_offset, id, toString(validation_status), toString(error_code), toString(error_field))) AS checksum
FROM {staging:Identifier}
WHERE ok AND kafka_offset NOT IN (SELECT kafka_offset FROM {duplicates:Identifier})
