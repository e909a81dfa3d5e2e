-- Rows of one topic in the table, by verdict and reason.
SELECT toString(validation_status) AS status, toString(error_code) AS reason, count() AS rows
FROM ingested_data
WHERE startsWith(batch_id, {batches:String})
GROUP BY status, reason
ORDER BY status, reason
