-- Sessions that hold a loader's advisory locks: claims on contents (one key), or the lock of a migration (two).
-- Parameters: lock_class, migration_lock.
-- Returns: pid, application, state, seconds since its state changed (NULL: may not be known), is it a migration, locks.
SELECT l.pid, a.application_name, a.state, extract(epoch FROM statement_timestamp() - a.state_change)::float8,
       l.objsubid = 2, count(*)
FROM pg_catalog.pg_locks AS l
LEFT JOIN pg_catalog.pg_stat_activity AS a ON a.pid = l.pid
WHERE l.locktype = 'advisory' AND l.granted AND l.pid IS DISTINCT FROM pg_backend_pid()
  AND l.database = (SELECT oid FROM pg_catalog.pg_database WHERE datname = current_database())
  AND (l.objsubid = 1 AND a.application_name LIKE 'loader%%'
       OR l.objsubid = 2 AND l.classid::bigint = %(lock_class)s AND l.objid::bigint = %(migration_lock)s)
GROUP BY 1, 2, 3, 4, 5
ORDER BY 1
