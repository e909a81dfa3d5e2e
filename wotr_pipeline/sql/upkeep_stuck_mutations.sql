-- Mutations that failed, or have run for longer than an hour.
SELECT table, mutation_id, parts_to_do, toUnixTimestamp(create_time) AS began, latest_fail_reason != '' AS failed
FROM system.mutations
WHERE database = currentDatabase() AND NOT is_done AND (latest_fail_reason != '' OR create_time < now() - 3600)
ORDER BY create_time
