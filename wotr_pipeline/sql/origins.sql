-- Key and headers of the rejected records, for their envelopes. Only three columns of the object are read,
-- and the offsets come from the staging table: as a bound array, many of them took minutes.
SELECT kafka_offset, key, headers
FROM s3(
    wotr_objects,
    filename = {key:String},
    format = 'Parquet',
    structure = 'kafka_offset Int64, key Nullable(String), headers Array(Tuple(name String, value Nullable(String)))'
)
WHERE kafka_offset IN (SELECT kafka_offset FROM {staging:Identifier} WHERE ok AND validation_status = 'failed')
