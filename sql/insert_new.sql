-- Staged rows whose event_id is not stored yet become events.
-- Identifiers: {staging}, {columns}. Returns: the places of the rows that were inserted.
--
-- What merge.sql does, at two thirds of its cost: ON CONFLICT inserts every row as a speculation that it then confirms.
-- Here each key is looked up first. Should another session insert one of them in between, this fails with a unique
-- violation, and merge.sql is run instead. check_key.sql has made sure that the constraint is there.
-- The lookup is a subquery of its own, so that it always goes by the key; as a join it could read all of events.
-- Rows are staged in the order of event_id, and read in that order; merge.sql says why.
WITH inserted AS (
    INSERT INTO events ({columns}, file_id, line)
    SELECT {columns}, file_id, line
    FROM {staging} AS s
    WHERE NOT again
      AND (SELECT true FROM events AS e WHERE e.event_id = s.event_id) IS NULL
    RETURNING file_id, line
)
SELECT coalesce(array_agg(file_id), '{{}}'), coalesce(array_agg(line), '{{}}')
FROM inserted
