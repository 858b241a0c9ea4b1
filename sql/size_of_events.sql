-- How large is events, its partitions included? Parameter: exact_bytes (up to which its rows are counted).
-- Returns: rows, whether that is an estimate, bytes of the table, bytes of its indexes. An estimate comes from what
-- ANALYZE or VACUUM found, scaled to today's size; rows is null where neither has been there yet.
WITH parts AS (
    SELECT c.oid, c.reltuples, c.relpages, pg_relation_size(c.oid) AS main_bytes
    FROM pg_catalog.pg_class AS c
    WHERE c.oid = to_regclass('events')
       OR c.oid IN (SELECT t.relid FROM pg_partition_tree(to_regclass('events')) AS t)
), sizes AS (
    SELECT sum(main_bytes) <= %(exact_bytes)s AS is_small,
           sum(CASE WHEN main_bytes > 0 THEN
               nullif(reltuples, -1) / nullif(relpages, 0)
               * (main_bytes / current_setting('block_size')::bigint) ELSE 0 END) AS estimate,
           bool_or(main_bytes > 0 AND (reltuples < 0 OR relpages = 0)) AS is_unknown,
           sum(pg_table_size(oid))::bigint AS table_bytes,
           sum(pg_indexes_size(oid))::bigint AS index_bytes
    FROM parts
)
SELECT CASE WHEN is_small THEN (SELECT count(*) FROM events)
            WHEN NOT is_unknown THEN estimate::bigint END,
       NOT is_small, table_bytes, index_bytes
FROM sizes
