-- Sessions whose lock on events or the ledger makes a load wait: whatever conflicts with ROW EXCLUSIVE.
-- Returns: pid, application, mode, seconds since its transaction began; NULL where this role may not know.
SELECT a.pid, a.application_name, l.mode, extract(epoch FROM clock_timestamp() - a.xact_start)::float8
FROM pg_catalog.pg_locks AS l
LEFT JOIN pg_catalog.pg_stat_activity AS a ON a.pid = l.pid
WHERE l.locktype = 'relation'
  AND l.database = (SELECT oid FROM pg_catalog.pg_database WHERE datname = current_database())
  AND l.relation IN (to_regclass('events'), to_regclass('loader_files'))
  AND l.mode IN ('ShareLock', 'ShareRowExclusiveLock', 'ExclusiveLock', 'AccessExclusiveLock')
  AND l.granted
  AND l.pid IS DISTINCT FROM pg_backend_pid()
ORDER BY a.xact_start, a.pid
