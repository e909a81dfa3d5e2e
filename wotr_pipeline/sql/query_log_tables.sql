-- Whether the engine has written its query log yet: it makes the table with its first flush.
SELECT count() AS tables
FROM system.tables
WHERE database = 'system' AND name = 'query_log'
