-- Milliseconds since the epoch of the newest row's arrival, 0 for an empty table. The parts know it.
SELECT toInt64(toUnixTimestamp64Milli(max(created_at))) AS newest
FROM ingested_data
