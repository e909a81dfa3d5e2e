-- Dead letters by hour and reason, last 7 days
-- Dead letters accumulate (runbook 4): since when, and for which reason. Counted hourly from the raw objects.
SELECT hour, reason, sum(letters) AS letters, max(share) AS largest_share, uniqExact(source) AS sources
FROM dead_letters_hourly
WHERE hour >= now() - INTERVAL 7 DAY
GROUP BY hour, reason
ORDER BY hour DESC, letters DESC
LIMIT 1000
