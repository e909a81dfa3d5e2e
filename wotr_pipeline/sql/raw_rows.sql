-- The rows of one raw object as judge.sql wants them: the relation `raw_rows`.
-- {key:String}: '<bucket>/<object name>'. Tests put rows of their own in its place.
-- A record's clock may be absent or absurd: more than 31 days off its batch's hour counts as that hour.
-- Otherwise one message could spread a batch over more months than one INSERT may touch.
SELECT
    kafka_offset,
    if(
        abs(toUnixTimestamp64Milli(kafka_timestamp) / 1000 - toUnixTimestamp({arrival_hour:DateTime})) <= 31 * 86400,
        kafka_timestamp,
        toDateTime64({arrival_hour:DateTime}, 3, 'UTC')
    ) AS kafka_timestamp,
    -- The bytes as they are, and whether there were any: as text, no value and an empty one are alike.
    assumeNotNull(raw.value) AS value,
    raw.value IS NULL AS tombstone
FROM s3(
    wotr_objects,
    filename = {key:String},
    format = 'Parquet',
    structure = 'kafka_offset Int64, kafka_timestamp DateTime64(3, \'UTC\'), value Nullable(String)'
) AS raw
