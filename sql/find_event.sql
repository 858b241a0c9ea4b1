-- One event. Parameter: event_id.
-- Returns: which file and line brought it, the whole row as JSON, and its columns one by one as text.
SELECT e.file_id, e.line, row_to_json(e)::text,
       (SELECT json_agg(json_build_array(c.key, c.value)) FROM json_each_text(row_to_json(e)) AS c)
FROM events AS e
WHERE e.event_id = %(event_id)s
