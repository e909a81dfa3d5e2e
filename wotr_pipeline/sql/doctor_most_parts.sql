-- The partition of the events' database with the most active parts.
SELECT concat(table, ' ', partition) AS place, toInt64(count()) AS parts
FROM system.parts
WHERE active AND database = {database:String}
GROUP BY table, partition
ORDER BY parts DESC
LIMIT 1
