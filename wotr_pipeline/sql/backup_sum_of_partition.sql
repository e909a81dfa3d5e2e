-- As backup_sums.sql, of one partition.
SELECT count() AS items, toString(sum(cityHash64(tuple(*)))) AS checksum
FROM {database:Identifier}.{table:Identifier}
WHERE _partition_id = {partition:String}
SETTINGS asterisk_include_materialized_columns = 1
