-- Ledger. Attempts that were rejected and lie in a batch that was judged anew, without being rejected again.
UPDATE dead_letter_attempts AS attempt SET outcome = 'passed', outcome_at = now()
WHERE attempt.outcome = 'rejected' AND attempt.topic = :topic AND attempt.partition = :partition
    AND attempt."offset" BETWEEN :first_offset AND :last_offset
    AND NOT (attempt."offset" = ANY(:rejected_offsets))
RETURNING attempt.letter_id
