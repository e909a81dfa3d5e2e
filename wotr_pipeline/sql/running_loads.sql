SELECT count() AS running
FROM system.processes
WHERE JSONExtractString(Settings['log_comment'], 'query') = 'load_batch'
