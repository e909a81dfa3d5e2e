CREATE TABLE IF NOT EXISTS dead_letters_hourly
(
    hour DateTime('UTC') COMMENT 'Arrival hour, UTC.',
    reason LowCardinality(String) COMMENT 'Reason code.',
    field LowCardinality(String) COMMENT 'Field that broke the contract; \'\' is the whole message.',
    source LowCardinality(String) COMMENT 'Service that sent the events; \'\' if unreadable.',
    version LowCardinality(String) COMMENT 'Schema version; \'\' if unreadable.',
    letters UInt64 COMMENT 'Rejected events.',
    share Float64 COMMENT 'letters among all events of the source in the hour, 0 to 1.',
    first_seen DateTime64(3, 'UTC') COMMENT 'First arrival.',
    last_seen DateTime64(3, 'UTC') COMMENT 'Last arrival.',
    examples Array(String) COMMENT 'Places of three of them, Kafka partition:offset.'
)
ENGINE = MergeTree
PARTITION BY toDate(hour)
ORDER BY (hour, reason, field, source, version)
