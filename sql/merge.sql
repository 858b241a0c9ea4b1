-- Staged rows become events; the first row with an event_id wins, by file and line.
-- Identifiers: {staging}, {columns}. Parameters: first_file, first_line, last_file, last_line (the range to merge).
-- Returns: how many rows were inserted, how many were left over.
--
-- ORDER BY event_id keeps the walk through the primary key's B-tree local, and lets concurrent merges take their
-- locks in the same order, without which they deadlock. The conflict target is named: without it, violations of any
-- other unique constraint would be swallowed too.
WITH inserted AS (
    INSERT INTO events ({columns}, file_id, line)
    SELECT {columns}, file_id, line
    FROM {staging}
    WHERE (file_id, line) >= (%(first_file)s, %(first_line)s)
      AND (file_id, line) <= (%(last_file)s, %(last_line)s)
    ORDER BY event_id, file_id, line
    ON CONFLICT (event_id) DO NOTHING
    RETURNING file_id, line
), left_over AS (
    INSERT INTO pg_temp.loader_left_over (event_id, file_id, line)
    SELECT s.event_id, s.file_id, s.line
    FROM {staging} AS s
    WHERE (s.file_id, s.line) >= (%(first_file)s, %(first_line)s)
      AND (s.file_id, s.line) <= (%(last_file)s, %(last_line)s)
      AND NOT EXISTS (SELECT FROM inserted AS i WHERE i.file_id = s.file_id AND i.line = s.line)
    RETURNING 1
)
SELECT (SELECT count(*) FROM inserted), (SELECT count(*) FROM left_over)
