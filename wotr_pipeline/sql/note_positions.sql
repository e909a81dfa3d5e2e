-- Ledger. Where Kafka keeps the records of attempts; the first acknowledged copy of an attempt counts.
UPDATE dead_letter_attempts AS attempt
SET topic = sent.topic, partition = sent.partition, "offset" = sent.offset
FROM json_to_recordset(CAST(:sent AS json)) AS sent
    (letter_id bigint, attempt int, topic text, partition int, "offset" bigint)
WHERE attempt.letter_id = sent.letter_id AND attempt.attempt = sent.attempt AND attempt.topic IS NULL
