-- Staged rows become events; the first row with an event_id wins, by file and line.
-- Identifiers: {columns}. Parameters: first_file, first_line, last_file, last_line (the range to merge).
--
-- The order keeps the walk through the primary key's B-tree local, and lets concurrent merges take their locks in the
-- same order, without which they deadlock more often. The conflict target is named: without it, violations of any other unique
-- constraint would be swallowed too.
INSERT INTO events ({columns}, file_id, line)
SELECT {columns}, file_id, line
FROM pg_temp.loader_staging
WHERE (file_id, line) >= (%(first_file)s, %(first_line)s)
  AND (file_id, line) <= (%(last_file)s, %(last_line)s)
ORDER BY event_id, file_id, line
ON CONFLICT (event_id) DO NOTHING
