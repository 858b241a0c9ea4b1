-- The table that dlt merges into, as dlt itself would make it (it knows no uuid, and takes json for Parquet), and with
-- the primary key that events has: dlt's own table would have no index at all.
DROP SCHEMA IF EXISTS dlt_contender, dlt_contender_staging CASCADE;
CREATE SCHEMA dlt_contender;
CREATE TABLE dlt_contender.events (
    event_id   varchar     NOT NULL PRIMARY KEY,
    event_time timestamptz NOT NULL,
    event_name varchar     NOT NULL,
    user_id    varchar     NOT NULL,
    properties json        NOT NULL
)
