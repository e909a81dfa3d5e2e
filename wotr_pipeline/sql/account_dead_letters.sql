-- Envelopes in each dead-letter object of one topic, by reason.
SELECT _path AS path, JSONExtractString(line, 'failure', 'reason') AS reason, count() AS letters
FROM s3(wotr_objects, filename = {pattern:String}, format = 'LineAsString', structure = 'line String')
GROUP BY path, reason
