CREATE TABLE IF NOT EXISTS source_stats
(
    hour DateTime('UTC') COMMENT 'Arrival hour, UTC.',
    source LowCardinality(String) COMMENT 'Service that sent the events.',
    events UInt64 COMMENT 'Rows: valid and failed.',
    failed UInt64 COMMENT 'Rows with validation_status failed.',
    failed_share Float64 COMMENT 'failed / events, 0 to 1.',
    bytes UInt64 COMMENT 'Message bytes.',
    average_bytes Float64 COMMENT 'Mean message size.',
    p95_bytes Float64 COMMENT '95th percentile of the message size.',
    event_types Array(LowCardinality(String)) COMMENT 'Kinds of event seen, at most 20.',
    versions Array(LowCardinality(String)) COMMENT 'Schema versions seen, at most 20.',
    error_codes Array(LowCardinality(String)) COMMENT 'Reason codes of failed rows, at most 20.',
    first_created_at DateTime64(3, 'UTC') COMMENT 'First arrival.',
    last_created_at DateTime64(3, 'UTC') COMMENT 'Last arrival.'
)
ENGINE = MergeTree
PARTITION BY toDate(hour)
ORDER BY (hour, source)
