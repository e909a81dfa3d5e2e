-- Ledger. Objects of dead letters and of fixed versions, all of whose letters were noted as pruned, one of them lately.
WITH held AS
(
    SELECT object_key AS key, pruned_at FROM dead_letters
    UNION ALL
    SELECT fix_key, pruned_at FROM dead_letters WHERE fix_key IS NOT NULL
)
SELECT key
FROM held
GROUP BY key
HAVING bool_and(pruned_at IS NOT NULL) AND max(pruned_at) >= :since
ORDER BY key
