-- 1 if the table of the events is there.
SELECT count() FROM system.tables WHERE database = {database:String} AND name = 'ingested_data'
