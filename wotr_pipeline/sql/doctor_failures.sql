-- Rejected rows of the last hour by reason and source: one reason everywhere is the contract, one source is a client.
SELECT error_code AS reason, source, toInt64(count()) AS failed
FROM ingested_data
WHERE validation_status = 'failed' AND created_at >= now() - INTERVAL 1 HOUR
GROUP BY reason, source
ORDER BY failed DESC
LIMIT 200
