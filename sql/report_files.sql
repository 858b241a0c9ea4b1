-- The newest files of the last days.
-- Parameters: days, status ('loaded' or 'refused'), most (how many at most).
SELECT name, finished_at, size_bytes, rows_read AS read, rows_inserted AS inserted, rows_duplicate AS duplicates,
       rows_conflict AS conflicts, rows_rejected AS rejected,
       extract(epoch FROM finished_at - started_at)::double precision AS seconds,
       error_code, first_error
FROM loader_files
WHERE status = %(status)s
  AND finished_at >= date_trunc('day', now(), 'UTC') - make_interval(days => %(days)s - 1)
ORDER BY finished_at DESC, file_id DESC
LIMIT %(most)s
