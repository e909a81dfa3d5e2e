CREATE TABLE curated_refresh AS events_daily
