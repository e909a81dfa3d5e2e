-- Queries that run now for long, the longest first. Not their texts: those may hold values of rows.
SELECT query_id, user, toFloat64(elapsed) AS seconds
FROM system.processes
WHERE elapsed > {seconds:Float64}
ORDER BY elapsed DESC
LIMIT 20
