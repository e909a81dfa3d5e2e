CREATE OR REPLACE TABLE curated_refresh AS source_stats
