-- The headline numbers of the report: what the ledger says of the last days, and of all time.
-- Parameters: days (today, in UTC, is one of them).
-- Returns: one row. first_day and made_at say which time the report covers. last_loaded is null where nothing was ever
-- loaded. events_total is about how many rows events has: what the ledger counted, or the planner's guess if higher.
WITH shown AS (
    SELECT date_trunc('day', now(), 'UTC') - make_interval(days => %(days)s - 1) AS since
)
SELECT (s.since AT TIME ZONE 'UTC')::date AS first_day,
       now() AS made_at,
       max(f.finished_at) FILTER (WHERE f.status = 'loaded') AS last_loaded,
       count(*) FILTER (WHERE f.status = 'loaded') AS files_ever,
       greatest(
           coalesce(sum(f.rows_inserted) FILTER (WHERE f.status = 'loaded'), 0)::bigint,
           (SELECT coalesce(sum(c.reltuples), 0)::bigint
            FROM pg_catalog.pg_class AS c
            WHERE c.oid = to_regclass('events')
               OR c.oid IN (SELECT t.relid FROM pg_partition_tree(to_regclass('events')) AS t WHERE t.isleaf))
       ) AS events_total
FROM shown AS s
LEFT JOIN loader_files AS f ON true
GROUP BY s.since
