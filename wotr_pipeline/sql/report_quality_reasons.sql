-- Why events were rejected from {first} until {until}, with the number of the time from {before} on.
SELECT
    toString(reason) AS reason,
    toString(field) AS field,
    sumIf(hourly.letters, hour >= toDateTime({first:Int64}, 'UTC')) AS letters,
    sumIf(hourly.letters, hour < toDateTime({first:Int64}, 'UTC')) AS earlier_letters,
    uniqExactIf(source, hour >= toDateTime({first:Int64}, 'UTC')) AS sources
FROM dead_letters_hourly AS hourly
WHERE hour >= toDateTime({before:Int64}, 'UTC') AND hour < toDateTime({until:Int64}, 'UTC')
GROUP BY reason, field
ORDER BY letters DESC, earlier_letters DESC, reason, field
LIMIT {most:UInt32}
