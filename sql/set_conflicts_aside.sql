-- Of the rows left over by a merge, set aside those whose content differs from the stored event: conflicts.
-- Identifiers: {staging}; {differences} lists, for each column, its name where the contents differ.
-- jsonb compares as JSON values do: the order of keys and the spelling of numbers make no difference.
INSERT INTO pg_temp.loader_set_aside (file_id, line, code, column_name, message)
SELECT l.file_id, l.line, 'conflict', d.names,
       format('event_id %s is already stored with different %s, from %s', l.event_id, d.names,
              CASE WHEN e.file_id = 0 THEN 'ingest_event()'
                   WHEN e.file_id = l.file_id THEN format('line %s of the same file', e.line)
                   ELSE format('line %s of %s', e.line, coalesce(f.name, 'file ' || e.file_id)) END)
FROM pg_temp.loader_left_over AS l
JOIN {staging} AS s ON s.file_id = l.file_id AND s.line = l.line
JOIN events AS e ON e.event_id = l.event_id
LEFT JOIN loader_files AS f ON f.file_id = e.file_id
CROSS JOIN LATERAL (SELECT nullif(concat_ws(', ', {differences}), '') AS names) AS d
WHERE d.names IS NOT NULL
