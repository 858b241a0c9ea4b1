-- Typed staging, for the contenders that decode the lines themselves. Unlogged: its rows need not outlive a crash.
CREATE UNLOGGED TABLE contender_staging (
    event_id   uuid        NOT NULL,
    event_time timestamptz NOT NULL,
    event_name text        NOT NULL,
    user_id    text        NOT NULL,
    properties jsonb       NOT NULL
)
