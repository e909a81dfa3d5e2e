-- Tables of this database, those without rows too, and the engine's own logs: from its list of parts, no row is read.
SELECT
    if(tables.database = currentDatabase(), tables.name, concat(tables.database, '.', tables.name)) AS name,
    held.rows AS rows,
    held.disk_bytes AS disk_bytes,
    held.uncompressed_bytes AS uncompressed_bytes,
    held.compressed_bytes AS compressed_bytes,
    held.parts AS parts,
    held.partitions AS partitions
FROM system.tables AS tables
LEFT JOIN
(
    SELECT
        database,
        table,
        sum(rows) AS rows,
        sum(bytes_on_disk) AS disk_bytes,
        sum(data_uncompressed_bytes) AS uncompressed_bytes,
        sum(data_compressed_bytes) AS compressed_bytes,
        count() AS parts,
        uniqExact(partition_id) AS partitions
    FROM system.parts
    WHERE active AND database IN (currentDatabase(), 'system')
    GROUP BY database, table
) AS held ON held.database = tables.database AND held.table = tables.name
WHERE tables.database IN (currentDatabase(), 'system') AND tables.engine LIKE '%MergeTree'
ORDER BY disk_bytes DESC, name
