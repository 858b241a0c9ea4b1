-- Why rows went to quarantine, by day (UTC) of their load and code. A row with several codes counts under each.
-- Parameters: days. Files that were refused whole are not among them.
SELECT (f.finished_at AT TIME ZONE 'UTC')::date AS day, c.code, sum(c.rows::bigint)::bigint AS rows, count(*) AS files
FROM loader_files AS f
CROSS JOIN LATERAL jsonb_each_text(f.reject_codes) AS c (code, rows)
WHERE f.status = 'loaded'
  AND f.finished_at >= date_trunc('day', now(), 'UTC') - make_interval(days => %(days)s - 1)
GROUP BY 1, 2
ORDER BY 1, 2
