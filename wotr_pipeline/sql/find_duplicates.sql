-- Offsets of valid rows whose id is already known: within the batch the smallest offset wins,
-- against the table whatever other batch was loaded first. The hash only narrows the search; ids decide.
WITH repeated AS
(
    SELECT sipHash64(id) FROM {staging:Identifier} WHERE ok AND validation_status = 'valid'
    GROUP BY sipHash64(id) HAVING count() > 1
)
SELECT kafka_offset
FROM
(
    SELECT kafka_offset, min(kafka_offset) OVER (PARTITION BY id) AS first_offset
    FROM {staging:Identifier}
    WHERE ok AND validation_status = 'valid' AND sipHash64(id) IN repeated
)
WHERE kafka_offset > first_offset

UNION DISTINCT

SELECT kafka_offset
FROM {staging:Identifier}
WHERE ok AND validation_status = 'valid' AND id IN
(
    SELECT id
    FROM {target:Identifier}
    PREWHERE id_hash IN (SELECT sipHash64(id) FROM {staging:Identifier} WHERE ok AND validation_status = 'valid')
    WHERE validation_status = 'valid'
        AND batch_id != {batch_id:String}
        AND created_at >= toDateTime({window_start:Int64}, 'UTC')
        AND created_at <= toDateTime({window_end:Int64}, 'UTC')
)
