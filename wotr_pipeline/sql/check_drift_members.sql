-- Members of the payload since {since} by source and MAJOR version, in one of {every} events, at most {sampled} each:
-- the payload is the widest column, so few of them are looked into.
SELECT source, major, member, count() AS events
FROM
(
    SELECT toString(source) AS source, splitByChar('.', toString(version))[1] AS major, payload
    FROM ingested_data
    PREWHERE id_hash % {every:UInt64} = 0
    WHERE created_at >= toDateTime64({since:Int64}, 3, 'UTC') AND validation_status = 'valid'
    LIMIT {sampled:UInt64} BY source, major
)
ARRAY JOIN JSONExtractKeys(payload) AS member
GROUP BY source, major, member
ORDER BY source, major, member
