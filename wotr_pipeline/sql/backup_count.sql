SELECT count() AS items
FROM {database:Identifier}.{table:Identifier}
