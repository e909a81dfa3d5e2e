-- Rows of one id among those that arrived since a moment (ms), valid or not.
SELECT count() AS row_count
FROM ingested_data
WHERE id = {id:String} AND created_at >= fromUnixTimestamp64Milli({since:Int64}, 'UTC')
