SELECT toString(status) AS status, error, num_files AS files, total_size AS bytes, bytes_read + compressed_size AS done
FROM system.backups
WHERE id = {id:String}
