SELECT
    count() AS rows,
    sum(cityHash64(kafka_offset, id, toString(validation_status), toString(error_code), toString(error_field))) AS checksum
FROM ingested_data
WHERE arrival_hour = toDateTime({arrival_hour:Int64}, 'UTC') AND batch_id = {batch_id:String}
