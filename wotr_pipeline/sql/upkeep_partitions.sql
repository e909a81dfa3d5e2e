-- Active parts, rows and bytes of each partition of the database's tables.
SELECT
    table,
    partition_id AS partition,
    count() AS parts,
    sum(rows) AS row_count,
    sum(bytes_on_disk) AS bytes
FROM system.parts
WHERE database = currentDatabase() AND active
GROUP BY table, partition_id
ORDER BY table, partition
