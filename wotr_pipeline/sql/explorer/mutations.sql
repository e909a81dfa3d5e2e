-- Mutations that are not done
-- ClickHouse is slow (runbook 1, 29): changes of parts that still run in the background, and why one fails.
SELECT table, mutation_id, command, create_time, parts_to_do, latest_fail_reason
FROM system.mutations
WHERE NOT is_done AND database = currentDatabase()
ORDER BY create_time
