-- What a DBA types for NDJSON: cat FILE... | psql -f handwritten.sql
\set ON_ERROR_STOP on
BEGIN;
CREATE UNLOGGED TABLE handwritten_staging (line text NOT NULL);

-- COPY's text format would take the backslashes in JSON for its own escapes; its CSV format would take quotes and
-- commas. With two characters that JSON never holds unescaped, CSV takes each line as it is.
\copy handwritten_staging (line) FROM pstdin (FORMAT csv, QUOTE E'\x01', DELIMITER E'\x02')

-- OFFSET 0 keeps the planner from merging the two SELECTs: each line is parsed once, not once for each field. Sorted,
-- so that the walk through the primary key's B-tree is local; of a repeated event_id the first line (ctid) wins.
INSERT INTO events (event_id, event_time, event_name, user_id, properties)
SELECT
    (event ->> 'event_id')::uuid,
    (event ->> 'event_time')::timestamptz,
    event ->> 'event_name',
    event ->> 'user_id',
    event -> 'properties'
FROM (SELECT ctid AS place, line::jsonb AS event FROM handwritten_staging OFFSET 0) AS parsed
ORDER BY (event ->> 'event_id')::uuid, place
ON CONFLICT (event_id) DO NOTHING;

DROP TABLE handwritten_staging;
COMMIT;
