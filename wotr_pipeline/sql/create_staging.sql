-- Columns: those of events/columns.py STAGING, in its order, which is also that of what judge.sql selects.
CREATE TABLE {table:Identifier}
(
    ok UInt8,
    id String,
    event_type LowCardinality(String),
    source LowCardinality(String),
    timestamp DateTime64(6, 'UTC'),
    payload String,
    size_bytes UInt32,
    validation_status Enum8('valid' = 1, 'failed' = 2),
    error_code LowCardinality(String),
    error_field LowCardinality(String),
    error_message String,
    warnings Array(LowCardinality(String)),
    user_id String,
    session_id String,
    ip_address String,
    tags Array(LowCardinality(String)),
    version LowCardinality(String),
    created_at DateTime64(3, 'UTC'),
    arrival_hour DateTime('UTC'),
    kafka_partition Int32,
    kafka_offset Int64,
    batch_id LowCardinality(String)
)
ENGINE = Memory
