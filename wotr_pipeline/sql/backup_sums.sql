-- A tuple: the hash of several arguments is NULL as soon as one of them is.
SELECT _partition_id AS partition, count() AS items, toString(sum(cityHash64(tuple(*)))) AS checksum
FROM {database:Identifier}.{table:Identifier}
GROUP BY partition
ORDER BY partition
