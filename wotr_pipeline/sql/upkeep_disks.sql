-- Free and total bytes of each of the engine's local disks.
SELECT name, free_space AS free, total_space AS total
FROM system.disks
WHERE total_space > 0 AND total_space < 9223372036854775807
ORDER BY name
