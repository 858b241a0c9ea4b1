-- Identifiers: {table}; {columns} is the contract's columns with their types.
-- Unlogged: what is staged never needs to survive a crash; the files do. No autovacuum: the table lives for seconds.
CREATE UNLOGGED TABLE {table} (
    {columns},
    file_id bigint  NOT NULL,
    line    bigint  NOT NULL,
    again   boolean NOT NULL -- an earlier row of the table has the same event_id
) WITH (autovacuum_enabled = off)
