SELECT id
FROM system.backups
WHERE status IN ('CREATING_BACKUP', 'RESTORING') AND position(name, {path:String}) > 0
