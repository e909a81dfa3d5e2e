ALTER TABLE ingested_data REPLACE PARTITION ID {month:String} FROM ingested_data_replacement
