-- Staged rows become events; the first row with an event_id wins, by file and line.
-- Identifiers: {staging}, {columns}. Parameters: first_file, first_line, last_file, last_line (the range to merge).
-- Returns: the places of the rows that were inserted.
--
-- Rows are staged in the order of event_id, file_id, line, and read in that order (session.sql sees to it). That keeps
-- the walk through the primary key's B-tree local, and lets concurrent merges take their locks in the same order,
-- without which they deadlock. The conflict target is named: without it, violations of any other unique constraint
-- would be swallowed too.
WITH inserted AS (
    INSERT INTO events ({columns}, file_id, line)
    SELECT {columns}, file_id, line
    FROM {staging}
    WHERE (file_id, line) >= (%(first_file)s, %(first_line)s)
      AND (file_id, line) <= (%(last_file)s, %(last_line)s)
    ON CONFLICT (event_id) DO NOTHING
    RETURNING file_id, line
)
SELECT coalesce(array_agg(file_id), '{{}}'), coalesce(array_agg(line), '{{}}')
FROM inserted
