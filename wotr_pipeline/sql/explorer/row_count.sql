-- Rows of ingested_data
-- ClickHouse recovery (runbook 10): how many rows there are, to hold against the account (wotr account).
SELECT
    count() AS rows,
    countIf(validation_status = 'valid') AS valid,
    countIf(validation_status = 'failed') AS failed,
    min(created_at) AS first_arrival,
    max(created_at) AS last_arrival
FROM ingested_data
