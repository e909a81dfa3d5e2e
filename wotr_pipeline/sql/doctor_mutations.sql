-- Mutations that are not done, the oldest first. Not latest_fail_reason: it may quote values of rows.
SELECT table, mutation_id, toInt64(dateDiff('second', create_time, now())) AS seconds,
    toString(latest_fail_error_code_name) AS failed_with
FROM system.mutations
WHERE NOT is_done AND database = {database:String}
ORDER BY create_time
LIMIT 20
