-- The columns of `events` as the search path finds it.
SELECT a.attname, format_type(a.atttypid, NULL)
FROM pg_catalog.pg_attribute AS a
WHERE a.attrelid = to_regclass('events') AND a.attnum > 0 AND NOT a.attisdropped
