SELECT database, table, name, type, comment
FROM system.columns
WHERE database = currentDatabase()
    OR (database = 'system' AND table IN ('columns', 'merges', 'mutations', 'parts', 'query_log', 'tables'))
ORDER BY database = 'system', database, table, position
LIMIT 4000
