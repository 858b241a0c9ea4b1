-- What kind of tables events and the ledger are, as the search path finds them.
-- Returns, for each: its name as the loader writes it, its qualified name, relkind, relpersistence, does row-level
-- security apply to this role, is there a policy at all, do other tables inherit from it.
SELECT name, c.oid::regclass::text, c.relkind::text, c.relpersistence::text, row_security_active(c.oid),
       EXISTS (SELECT FROM pg_catalog.pg_policy AS p WHERE p.polrelid = c.oid),
       EXISTS (SELECT FROM pg_catalog.pg_inherits AS i WHERE i.inhparent = c.oid)
FROM (VALUES ('events'), ('loader_files')) AS due (name)
JOIN pg_catalog.pg_class AS c ON c.oid = to_regclass(due.name)
ORDER BY name
