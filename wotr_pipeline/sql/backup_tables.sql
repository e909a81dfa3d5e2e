SELECT name
FROM system.tables
WHERE database = {database:String} AND engine LIKE '%MergeTree'
  AND name NOT LIKE '%\\_replacement' AND name NOT LIKE '\\_tmp\\_%' AND name NOT LIKE '.inner%'
ORDER BY name
