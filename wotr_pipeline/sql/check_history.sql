-- Seconds since the epoch of the first hour with events since {first_hour}; 0 if there is none.
SELECT toInt64(toUnixTimestamp(min(hour))) AS first_hour
FROM source_stats
WHERE hour >= toDateTime({first_hour:Int64}, 'UTC')
