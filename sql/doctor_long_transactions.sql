-- Transactions on this database that are older than some seconds. Parameter: seconds.
-- Of other roles it sees those alone that this role may know of.
-- Returns: pid (NULL: prepared), application or the prepared transaction's quoted name, state, seconds.
SELECT pid, application_name, state, extract(epoch FROM clock_timestamp() - xact_start)::float8
FROM pg_catalog.pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'
  AND xact_start < clock_timestamp() - make_interval(secs => %(seconds)s)
UNION ALL
SELECT NULL, quote_literal(gid), 'prepared', extract(epoch FROM clock_timestamp() - prepared)::float8
FROM pg_catalog.pg_prepared_xacts
WHERE database = current_database() AND prepared < clock_timestamp() - make_interval(secs => %(seconds)s)
ORDER BY 4 DESC
