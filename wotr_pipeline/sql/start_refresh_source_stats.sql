CREATE TABLE curated_refresh AS source_stats
