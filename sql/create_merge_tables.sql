-- Per session: rows of the load in hand that were staged and not inserted, and why. Duplicates are only counted.
CREATE TEMPORARY TABLE IF NOT EXISTS loader_set_aside (
    file_id     bigint NOT NULL,
    line        bigint NOT NULL,
    code        text   NOT NULL,
    column_name text,
    message     text   NOT NULL
) ON COMMIT DELETE ROWS
