-- Seconds from arrival to the table, of the rows of some batches whose loading times (ms) the ledger has.
-- Rows of the batches that arrived before `since` are a reprocess or a backlog of long ago: left out.
SELECT
    count() AS events,
    quantile(0.5)(seconds) AS p50,
    quantile(0.95)(seconds) AS p95,
    max(seconds) AS slowest
FROM
(
    SELECT
        (transform(toString(batch_id), {batches:Array(String)}, {loaded:Array(Int64)}, toInt64(0))
            - toUnixTimestamp64Milli(created_at)) / 1000 AS seconds
    FROM ingested_data
    WHERE created_at >= fromUnixTimestamp64Milli({since:Int64}, 'UTC') AND batch_id IN {batches:Array(String)}
)
