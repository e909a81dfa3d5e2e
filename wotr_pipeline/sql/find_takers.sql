-- Batches that hold an id which the staged batch held before: duplicates that its last load did not leave out.
SELECT DISTINCT toString(batch_id) AS batch_id
FROM {target:Identifier}
PREWHERE id_hash IN
(
    SELECT sipHash64(id) FROM {staging:Identifier}
    WHERE ok AND validation_status = 'valid'
        AND kafka_offset IN (SELECT kafka_offset FROM {duplicates:Identifier})
        AND kafka_offset NOT IN (SELECT kafka_offset FROM {left_out:Identifier})
)
WHERE validation_status = 'valid'
    AND batch_id != {batch_id:String}
    AND created_at >= toDateTime({window_start:Int64}, 'UTC')
    AND created_at <= toDateTime({window_end:Int64}, 'UTC')
    AND id IN
    (
        SELECT id FROM {staging:Identifier}
        WHERE ok AND validation_status = 'valid'
            AND kafka_offset IN (SELECT kafka_offset FROM {duplicates:Identifier})
            AND kafka_offset NOT IN (SELECT kafka_offset FROM {left_out:Identifier})
    )
ORDER BY batch_id
