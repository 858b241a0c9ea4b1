-- Columns of events that must be given a value and that the loader doesn't write. Parameter: columns (that it writes).
-- Returns: the quoted name.
SELECT quote_ident(a.attname)
FROM pg_catalog.pg_attribute AS a
WHERE a.attrelid = to_regclass('events') AND a.attnum > 0 AND NOT a.attisdropped
  AND a.attnotnull AND NOT a.atthasdef AND a.attidentity = ''
  AND a.attname <> ALL (%(columns)s::text[])
ORDER BY a.attnum
