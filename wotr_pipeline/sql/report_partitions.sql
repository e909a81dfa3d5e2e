-- The largest partitions of this database, with how many there are in all.
SELECT
    table AS name,
    partition,
    sum(rows) AS rows,
    sum(bytes_on_disk) AS disk_bytes,
    count() AS parts,
    count() OVER () AS partitions
FROM system.parts
WHERE active AND database = currentDatabase()
GROUP BY table, partition
ORDER BY disk_bytes DESC, name, partition
LIMIT {most:UInt32}
