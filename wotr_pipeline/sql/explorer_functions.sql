SELECT name
FROM system.functions
WHERE alias_to = ''
ORDER BY name
