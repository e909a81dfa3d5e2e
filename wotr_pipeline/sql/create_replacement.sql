CREATE OR REPLACE TABLE ingested_data_replacement AS ingested_data
