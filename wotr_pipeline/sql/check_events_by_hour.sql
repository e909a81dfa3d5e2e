-- Rows by arrival hour, from one hour to another (both included); hours without rows are absent.
SELECT toInt64(toUnixTimestamp(arrival_hour)) AS hour, count() AS rows
FROM ingested_data
WHERE arrival_hour >= toDateTime({first_hour:Int64}, 'UTC') AND arrival_hour <= toDateTime({last_hour:Int64}, 'UTC')
GROUP BY arrival_hour
ORDER BY arrival_hour
