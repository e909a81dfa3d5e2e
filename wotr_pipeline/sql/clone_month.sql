ALTER TABLE ingested_data_replacement ATTACH PARTITION ID {month:String} FROM ingested_data
