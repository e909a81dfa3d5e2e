-- Schema versions of an hour's valid events, and of the hours before it since {first_hour}.
SELECT
    toString(version) AS version,
    countIf(arrival_hour = toDateTime({arrival_hour:Int64}, 'UTC')) AS rows,
    countIf(arrival_hour < toDateTime({arrival_hour:Int64}, 'UTC')) AS earlier_rows,
    arrayMap(text -> toString(text), groupUniqArrayIf(3)(source, arrival_hour = toDateTime({arrival_hour:Int64}, 'UTC'))) AS sources
FROM ingested_data
WHERE arrival_hour >= toDateTime({first_hour:Int64}, 'UTC') AND arrival_hour <= toDateTime({arrival_hour:Int64}, 'UTC')
    AND validation_status = 'valid'
GROUP BY version
ORDER BY version
