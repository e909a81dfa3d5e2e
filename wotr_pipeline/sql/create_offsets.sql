CREATE TABLE {table:Identifier} (kafka_offset Int64) ENGINE = Memory
