-- Records in each raw object of one topic; Parquet footers alone are read.
SELECT _path AS path, count() AS records
FROM s3(wotr_objects, filename = {pattern:String}, format = 'Parquet', structure = 'kafka_offset Int64')
GROUP BY path
