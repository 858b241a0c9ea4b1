-- All staging tables, whoever made them.
SELECT c.relname
FROM pg_catalog.pg_class AS c
JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
WHERE n.nspname = 'loader_staging' AND c.relkind = 'r'
ORDER BY c.relname
