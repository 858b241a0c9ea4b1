-- Which contents do loaders have in hand right now, in this database? Their locks come from claim_contents.sql; a
-- session with an advisory lock of that form which has not looked into the ledger is no loader's.
-- Returns: the first 8 bytes of each SHA-256 in hex, and who has it since when, as far as this role may see that.
WITH held AS MATERIALIZED (
    SELECT pid, locktype, database, relation, classid, objid, objsubid FROM pg_catalog.pg_locks WHERE granted
)
SELECT lpad(to_hex(h.classid::bigint), 8, '0') || lpad(to_hex(h.objid::bigint), 8, '0') AS beginning,
       h.pid, host(a.client_addr), extract(epoch FROM clock_timestamp() - a.xact_start)::float8
FROM held AS h
LEFT JOIN pg_catalog.pg_stat_activity AS a ON a.pid = h.pid
WHERE h.locktype = 'advisory' AND h.objsubid = 1
  AND h.database = (SELECT d.oid FROM pg_catalog.pg_database AS d WHERE d.datname = current_database())
  AND EXISTS (
      SELECT FROM held AS r
      WHERE r.pid = h.pid AND r.locktype = 'relation' AND r.relation = to_regclass('loader_files')
  )
ORDER BY a.xact_start, beginning
