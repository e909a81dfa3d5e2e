-- What a reprocess would change, by old and new verdict. A row that is in neither side's reach
-- (a duplicate that was never loaded) is left out: its verdict cannot change what is counted.
SELECT
    toString(old.validation_status) AS old_status,
    toString(old.error_code) AS old_error_code,
    toString(new.validation_status) AS new_status,
    toString(new.error_code) AS new_error_code,
    count() AS rows,
    groupArraySample(10, 1)(new.id) AS sample_ids
FROM
(
    SELECT kafka_offset, validation_status, error_code
    FROM ingested_data
    WHERE arrival_hour = toDateTime({arrival_hour:Int64}, 'UTC') AND batch_id = {batch_id:String}
) AS old
INNER JOIN
(
    SELECT kafka_offset, id, validation_status, error_code FROM {staging:Identifier} WHERE ok
) AS new USING (kafka_offset)
WHERE old.validation_status != new.validation_status OR old.error_code != new.error_code
GROUP BY ALL
ORDER BY rows DESC
