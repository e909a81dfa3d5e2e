SELECT DISTINCT _partition_id::String AS month FROM ingested_data WHERE batch_id IN {batches:Array(String)}
