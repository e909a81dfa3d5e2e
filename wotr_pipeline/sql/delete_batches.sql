ALTER TABLE ingested_data_replacement DELETE WHERE batch_id IN {batches:Array(String)}
