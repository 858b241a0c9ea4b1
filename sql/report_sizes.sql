-- How many files were loaded in the last days, by size.
-- Parameters: days, bounds (ascending; bin 0 lies below the first, bin n at or above bound n).
SELECT width_bucket(size_bytes, %(bounds)s::bigint[]) AS bin, count(*) AS files, sum(size_bytes)::bigint AS size_bytes
FROM loader_files
WHERE status = 'loaded'
  AND finished_at >= date_trunc('day', now(), 'UTC') - make_interval(days => %(days)s - 1)
GROUP BY 1
ORDER BY 1
