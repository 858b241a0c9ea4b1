-- The row in the middle of a range of staged rows, and the one after it: where to halve.
-- Identifiers: {staging}. Parameters: first_file, first_line, last_file, last_line, half (rows in the first half).
SELECT file_id, line
FROM {staging}
WHERE (file_id, line) >= (%(first_file)s, %(first_line)s)
  AND (file_id, line) <= (%(last_file)s, %(last_line)s)
ORDER BY file_id, line
OFFSET %(half)s - 1 LIMIT 2
