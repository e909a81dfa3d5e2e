-- Ledger. Attempts whose record lies in a batch that is LOADED and whose rejected records are all known:
-- what is not among those has passed.
WITH waiting AS
(
    SELECT partition, min("offset") AS first_offset
    FROM dead_letter_attempts
    WHERE outcome IS NULL AND topic = :topic
    GROUP BY partition
), judged AS
(
    SELECT batch.partition, batch.first_offset, batch.last_offset
    FROM ingest_batches AS batch INNER JOIN waiting USING (partition)
    WHERE batch.topic = :topic AND batch.last_offset >= waiting.first_offset
        AND batch.state = 'LOADED' AND batch.letters_generation = batch.generation
)
UPDATE dead_letter_attempts AS attempt SET outcome = 'passed', outcome_at = now()
FROM judged
WHERE attempt.outcome IS NULL AND attempt.topic = :topic AND attempt.partition = judged.partition
    AND attempt."offset" BETWEEN judged.first_offset AND judged.last_offset
RETURNING attempt.letter_id
