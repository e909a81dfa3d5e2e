SELECT sum(rows) AS rows
FROM system.parts
WHERE database = currentDatabase() AND table = {table:String} AND partition_id = {partition:String} AND active
