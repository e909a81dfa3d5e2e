CREATE OR REPLACE TABLE curated_refresh AS events_hourly
