SELECT kafka_offset FROM {table:Identifier} ORDER BY kafka_offset
