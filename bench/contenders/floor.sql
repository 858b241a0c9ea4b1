-- The floor: what a DBA would type, given files that are clean, typed and in COPY's binary format already.
\set ON_ERROR_STOP on
CREATE UNLOGGED TABLE floor_staging (
    event_id   uuid        NOT NULL,
    event_time timestamptz NOT NULL,
    file_id    bigint      NOT NULL,
    line       bigint      NOT NULL,
    event_name text        NOT NULL,
    user_id    text        NOT NULL,
    properties jsonb       NOT NULL
);
\i :copies
INSERT INTO events (event_id, event_time, file_id, line, event_name, user_id, properties)
SELECT event_id, event_time, file_id, line, event_name, user_id, properties
FROM floor_staging
ORDER BY event_id
ON CONFLICT (event_id) DO NOTHING;
DROP TABLE floor_staging;
