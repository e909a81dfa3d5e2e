-- Space on the disks of the engine itself.
SELECT name, toInt64(free_space) AS free, toInt64(total_space) AS total FROM system.disks WHERE total_space > 0
