CREATE OR REPLACE TABLE curated_refresh AS events_daily
