-- What the conservative SQL rules would not vouch for; the payload column still holds the raw bytes.
SELECT kafka_offset, created_at, if(error_code = 'tombstone', NULL, payload) AS value
FROM {staging:Identifier}
WHERE NOT ok
ORDER BY kafka_offset
