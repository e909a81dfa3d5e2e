-- Rows of one topic in the table, by verdict and reason, of the hours that retention leaves whole.
SELECT toString(validation_status) AS status, toString(error_code) AS reason, count() AS rows
FROM ingested_data
WHERE startsWith(batch_id, {batches:String}) AND arrival_hour >= toDateTime({first_hour:Int64}, 'UTC')
GROUP BY status, reason
ORDER BY status, reason
