-- Valid events since {since} by source and MAJOR version.
SELECT toString(source) AS source, splitByChar('.', toString(version))[1] AS major, count() AS events
FROM ingested_data
WHERE created_at >= toDateTime64({since:Int64}, 3, 'UTC') AND validation_status = 'valid'
GROUP BY source, major
ORDER BY source, major
