-- What the last load left out is left out again, where it is still a valid row.
INSERT INTO {duplicates:Identifier}
SELECT kafka_offset
FROM {staging:Identifier}
WHERE ok AND validation_status = 'valid'
    AND kafka_offset IN (SELECT kafka_offset FROM {left_out:Identifier})
    AND kafka_offset NOT IN (SELECT kafka_offset FROM {duplicates:Identifier})
