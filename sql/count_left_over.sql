-- Rows left over, by file: those that are set aside as conflicts, and the rest, which are duplicates.
-- The join to events makes sure that each of them really has its event.
SELECT l.file_id,
       count(*) FILTER (WHERE a.line IS NULL) AS duplicates,
       count(a.line) AS conflicts
FROM pg_temp.loader_left_over AS l
JOIN events AS e ON e.event_id = l.event_id
LEFT JOIN pg_temp.loader_set_aside AS a ON a.file_id = l.file_id AND a.line = l.line AND a.code = 'conflict'
GROUP BY l.file_id
