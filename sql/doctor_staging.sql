-- Staging tables of sessions that are gone: a crash of the server left them.
-- Returns: the quoted, qualified name.
SELECT format('%I.%I', n.nspname, c.relname)
FROM pg_catalog.pg_class AS c
JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
WHERE c.relname IN ('loader_staging', 'loader_set_aside')
  AND n.nspname LIKE 'pg\_temp\_%'
  AND pg_catalog.pg_is_other_temp_schema(n.oid)
  AND NOT EXISTS (
      SELECT FROM pg_catalog.pg_stat_activity AS a
      WHERE a.datname = current_database() AND a.application_name LIKE 'loader%' AND a.pid <> pg_backend_pid()
  )
ORDER BY 1
