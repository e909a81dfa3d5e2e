CREATE TABLE IF NOT EXISTS events_daily
(
    day Date COMMENT 'Day of arrival, UTC.',
    event_type LowCardinality(String) COMMENT 'Kind of event.',
    events UInt64 COMMENT 'Rows: valid and failed.',
    failed UInt64 COMMENT 'Rows with validation_status failed.',
    bytes UInt64 COMMENT 'Message bytes.',
    sources UInt64 COMMENT 'Distinct sources, estimated.',
    busiest_hour DateTime('UTC') COMMENT 'Hour with the most events of the type.',
    busiest_hour_events UInt64 COMMENT 'Events in that hour.'
)
ENGINE = MergeTree
PARTITION BY toYYYYMM(day)
ORDER BY (day, event_type)
