CREATE TABLE curated_refresh AS events_hourly
