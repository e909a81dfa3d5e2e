-- Ids that more than one valid row of an arrival hour carries. The hash only narrows the search; ids decide.
SELECT
    count() AS ids,
    sum(copies - 1) AS extra_rows,
    arrayMap(text -> toValidUTF8(substringUTF8(text, 1, 100)), groupArray(10)(id)) AS sample_ids,
    arrayDistinct(flatten(groupArray(10)(batches))) AS batches
FROM
(
    SELECT id, count() AS copies, groupUniqArray(2)(toString(batch_id)) AS batches
    FROM ingested_data
    WHERE arrival_hour = toDateTime({arrival_hour:Int64}, 'UTC') AND validation_status = 'valid'
        AND id_hash IN
        (
            SELECT id_hash
            FROM ingested_data
            WHERE arrival_hour = toDateTime({arrival_hour:Int64}, 'UTC') AND validation_status = 'valid'
            GROUP BY id_hash
            HAVING count() > 1
        )
    GROUP BY id
    HAVING copies > 1
    ORDER BY id
)
