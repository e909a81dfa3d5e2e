CREATE TABLE IF NOT EXISTS events_hourly
(
    hour DateTime('UTC') COMMENT 'Arrival hour, UTC.',
    event_type LowCardinality(String) COMMENT 'Kind of event.',
    source LowCardinality(String) COMMENT 'Service that sent the events.',
    events UInt64 COMMENT 'Rows: valid and failed.',
    failed UInt64 COMMENT 'Rows with validation_status failed.',
    bytes UInt64 COMMENT 'Message bytes.',
    users UInt64 COMMENT 'Distinct user ids, estimated.',
    late UInt64 COMMENT 'Events dated more than an hour before their arrival hour.'
)
ENGINE = MergeTree
PARTITION BY toDate(hour)
ORDER BY (hour, event_type, source)
