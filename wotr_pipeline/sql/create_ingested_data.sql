-- The events, valid and failed: one row each, never two.
-- id_hash serves the search for duplicates: eight bytes a row are scanned, not the ids.
CREATE TABLE IF NOT EXISTS ingested_data
(
    id String COMMENT 'Id given by the producer; unique among valid rows. \'\' if unreadable.',
    event_type LowCardinality(String) COMMENT 'Kind of event, of the contract\'s closed set. \'\' if unreadable.',
    source LowCardinality(String) COMMENT 'Service that sent the event. \'\' if unreadable.',
    timestamp DateTime64(6, 'UTC') COMMENT 'When it happened, says the producer; created_at if unreadable.',
    payload String COMMENT 'JSON text of the payload as it was written; for failed rows the start of the whole message.',
    size_bytes UInt32 COMMENT 'Size of the whole message.',
    validation_status Enum8('valid' = 1, 'failed' = 2) COMMENT 'Whether it keeps the contract.',
    error_code LowCardinality(String) COMMENT 'Reason code of a failed event, of a closed set; \'\' if valid.',
    error_field LowCardinality(String) COMMENT 'Path of the field that broke the contract; \'\' is the whole message.',
    error_message String COMMENT 'What is wrong, without the value\'s content; \'\' if valid.',
    warnings Array(LowCardinality(String)) COMMENT 'Codes of what is odd about a valid event.',
    user_id String COMMENT 'User the event belongs to; \'\' if absent.',
    session_id String COMMENT 'Session the event belongs to; \'\' if absent.',
    ip_address String COMMENT 'IPv4 address the event came from; \'\' if absent.',
    tags Array(LowCardinality(String)) COMMENT 'The producer\'s tags.',
    version LowCardinality(String) COMMENT 'Version of the event\'s schema, MAJOR.MINOR. \'\' if unreadable.',
    created_at DateTime64(3, 'UTC') COMMENT 'When it arrived: Kafka\'s timestamp.',
    arrival_hour DateTime('UTC') COMMENT 'Hourly partition of its batch.',
    kafka_partition Int32 COMMENT 'Kafka partition it came from.',
    kafka_offset Int64 COMMENT 'Kafka offset it came from.',
    batch_id LowCardinality(String) COMMENT 'Batch that loaded it: topic:partition:first-last.',
    id_hash UInt64 MATERIALIZED sipHash64(id) COMMENT 'Hash of id, to find duplicates.' CODEC(NONE),
    INDEX arrival_hour_range arrival_hour TYPE minmax GRANULARITY 1
)
ENGINE = MergeTree
PARTITION BY toYYYYMM(created_at)
ORDER BY (event_type, created_at, id)
SETTINGS
    non_replicated_deduplication_window = 10000,
    -- The ledger says LOADED for good: the rows must outlive a power cut, not only a kill.
    fsync_after_insert = 1,
    fsync_part_directory = 1
