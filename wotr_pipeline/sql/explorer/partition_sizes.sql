-- Rows and bytes per partition
-- ClickHouse optimise (runbook 21): before and after, and which months retention would drop.
SELECT
    table,
    partition,
    sum(rows) AS rows,
    count() AS parts,
    sum(bytes_on_disk) AS disk_bytes,
    formatReadableSize(disk_bytes) AS size
FROM system.parts
WHERE active AND database = currentDatabase()
GROUP BY table, partition
ORDER BY table, partition
