-- A tuple: the hash of several arguments is NULL as soon as one of them is. Columns that are
-- MATERIALIZED lie on the disk as others do, and belong to the star only when asked for.
SELECT _partition_id AS partition, count() AS items, toString(sum(cityHash64(tuple(*)))) AS checksum
FROM {database:Identifier}.{table:Identifier}
GROUP BY partition
ORDER BY partition
SETTINGS asterisk_include_materialized_columns = 1
