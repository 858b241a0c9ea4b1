-- Per session: the rows of the load in hand that go through a merge, and those of them that are set aside, and why.
-- Identifiers: {columns} is the contract's columns with their types.
CREATE TEMPORARY TABLE IF NOT EXISTS loader_staging (
    {columns},
    file_id bigint NOT NULL,
    line    bigint NOT NULL
) ON COMMIT DELETE ROWS;

CREATE TEMPORARY TABLE IF NOT EXISTS loader_set_aside (
    file_id     bigint NOT NULL,
    line        bigint NOT NULL,
    code        text   NOT NULL,
    column_name text,
    message     text   NOT NULL
) ON COMMIT DELETE ROWS
