-- Ledger. Objects of dead letters and of fixed versions, none of whose letters is open or was closed lately.
WITH held AS
(
    SELECT object_key AS key, state, since FROM dead_letters WHERE pruned_at IS NULL
    UNION ALL
    SELECT fix_key, state, since FROM dead_letters WHERE pruned_at IS NULL AND fix_key IS NOT NULL
)
SELECT key
FROM held
GROUP BY key
HAVING bool_and(state IN ('RESOLVED', 'DISCARDED') AND since < :before)
ORDER BY key
