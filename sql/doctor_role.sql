-- Who this session is. Returns: the role's quoted name, is it a superuser, does it own events or loader_files (or may
-- act as their owner), may it create tables in the current schema, that schema's quoted name, may it see what
-- other roles' sessions do.
SELECT quote_ident(r.rolname), r.rolsuper,
       EXISTS (
           SELECT FROM pg_catalog.pg_class AS c
           WHERE c.oid IN (to_regclass('events'), to_regclass('loader_files')) AND pg_has_role(c.relowner, 'USAGE')
       ),
       coalesce(has_schema_privilege(current_schema(), 'CREATE'), false), quote_ident(current_schema()),
       pg_has_role('pg_read_all_stats', 'USAGE')
FROM pg_catalog.pg_roles AS r
WHERE r.rolname = current_user
