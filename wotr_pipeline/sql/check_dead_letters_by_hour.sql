-- Rejected events by arrival hour, from one hour to another (both included); hours without any are absent.
SELECT toInt64(toUnixTimestamp(hour)) AS hour, sum(letters) AS letters
FROM dead_letters_hourly
WHERE hour >= toDateTime({first_hour:Int64}, 'UTC') AND hour <= toDateTime({last_hour:Int64}, 'UTC')
GROUP BY hour
ORDER BY hour
