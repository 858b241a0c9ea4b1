-- Rows that were staged and not inserted: an event with their id is stored. Set aside those whose content differs from
-- it, the conflicts; the others are duplicates.
-- Identifiers: {differences} lists, for each column, its name where the contents differ.
-- Parameters: none_inserted (none of the staged rows was). Otherwise an event's place says whether it is the row itself.
-- Returns: by file, how many rows are duplicates and how many are conflicts. Rows without an event are not counted.
-- jsonb compares as JSON values do: the order of keys and the spelling of numbers make no difference.
WITH compared AS MATERIALIZED (
    SELECT s.file_id, s.line, s.event_id, e.file_id AS stored_file_id, e.line AS stored_line, d.names
    FROM pg_temp.loader_staging AS s
    -- OFFSET 0 keeps the lookups apart, by the primary key and in its order. Joined freely, all of events could be read.
    CROSS JOIN LATERAL (SELECT * FROM events WHERE event_id = s.event_id OFFSET 0) AS e
    CROSS JOIN LATERAL (SELECT nullif(concat_ws(', ', {differences}), '') AS names) AS d
    WHERE %(none_inserted)s OR (e.file_id, e.line) <> (s.file_id, s.line)
), conflicts AS (
    INSERT INTO pg_temp.loader_set_aside (file_id, line, code, column_name, message)
    SELECT c.file_id, c.line, 'conflict', c.names,
           format('event_id %%s is already stored with different %%s, from %%s', c.event_id, c.names,
                  CASE WHEN c.stored_file_id = 0 THEN 'ingest_event()'
                       WHEN c.stored_file_id = c.file_id THEN format('line %%s of the same file', c.stored_line)
                       ELSE format('line %%s of %%s', c.stored_line, coalesce(f.name, 'file ' || c.stored_file_id)) END)
    FROM compared AS c
    LEFT JOIN loader_files AS f ON f.file_id = c.stored_file_id
    WHERE c.names IS NOT NULL
)
SELECT file_id, count(*) FILTER (WHERE names IS NULL), count(names)
FROM compared
GROUP BY file_id
