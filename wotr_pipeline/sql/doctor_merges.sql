-- Merges that run now, of all databases: they share the same disks.
SELECT toInt64(count()) AS merges, toFloat64(max(elapsed)) AS longest_seconds FROM system.merges
