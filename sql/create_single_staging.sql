-- The staging table of ingest_event(): for one row, per session.
-- Identifiers: {table}; {columns} is the contract's columns with their types.
CREATE TEMPORARY TABLE IF NOT EXISTS {table} (
    {columns},
    file_id bigint  NOT NULL,
    line    bigint  NOT NULL,
    again   boolean NOT NULL
) ON COMMIT DELETE ROWS
