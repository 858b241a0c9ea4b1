-- Which rights that the README grants does this role lack, and which has it beyond them?
-- Returns: a row for each table, sequence or database: its name, the kind that GRANT calls it by, lacking rights,
-- rights to spare. A right to a table counts as given where each of its columns has it.
WITH due (relation, needed) AS (
    VALUES ('events', ARRAY['SELECT', 'INSERT']),
           ('loader_files', ARRAY['SELECT', 'INSERT', 'UPDATE']),
           ('loader_migrations', ARRAY['SELECT'])
), per_right AS (
    SELECT c.oid::regclass::text AS name, p.privilege, p.privilege = ANY (due.needed) AS is_needed,
           has_table_privilege(c.oid, p.privilege)
           OR p.privilege IN ('SELECT', 'INSERT', 'UPDATE') AND NOT EXISTS (
               SELECT FROM pg_catalog.pg_attribute AS a
               WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
                 AND NOT has_column_privilege(c.oid, a.attnum, p.privilege)
           ) AS is_given
    FROM due
    JOIN pg_catalog.pg_class AS c ON c.oid = to_regclass(due.relation)
    CROSS JOIN (VALUES ('SELECT'), ('INSERT'), ('UPDATE'), ('DELETE'), ('TRUNCATE')) AS p (privilege)
)
SELECT name, 'TABLE',
       array_agg(privilege ORDER BY privilege) FILTER (WHERE is_needed AND NOT is_given),
       array_agg(privilege ORDER BY privilege) FILTER (WHERE is_given AND NOT is_needed)
FROM per_right
GROUP BY name
UNION ALL
SELECT c.oid::regclass::text, 'SEQUENCE',
       CASE WHEN NOT has_sequence_privilege(c.oid, 'USAGE') THEN ARRAY['USAGE'] END, NULL
FROM pg_catalog.pg_class AS t
JOIN pg_catalog.pg_depend AS d
  ON d.classid = 'pg_class'::regclass AND d.refclassid = 'pg_class'::regclass
 AND d.refobjid = t.oid AND d.deptype IN ('a', 'i')
JOIN pg_catalog.pg_class AS c ON c.oid = d.objid AND c.relkind = 'S'
WHERE t.oid = to_regclass('loader_files')
UNION ALL
SELECT quote_ident(current_database()), 'DATABASE',
       CASE WHEN NOT has_database_privilege(current_database(), 'TEMPORARY') THEN ARRAY['TEMPORARY'] END, NULL
