-- Reasons with their field and source that were not seen between {first_hour} and {new_since}, and are since.
SELECT
    toString(reason) AS reason,
    toString(field) AS field,
    toString(source) AS source,
    sum(letters) AS letters,
    min(first_seen) AS first_seen,
    any(examples) AS examples
FROM dead_letters_hourly
WHERE hour >= toDateTime({first_hour:Int64}, 'UTC')
GROUP BY reason, field, source
HAVING min(hour) >= toDateTime({new_since:Int64}, 'UTC')
ORDER BY letters DESC
