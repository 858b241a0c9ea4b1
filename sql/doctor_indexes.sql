-- The indexes on events.
-- Returns: the quoted name, is it the one that a merge names (unique, on event_id alone, all rows), is it valid, is it
-- checked at once (not deferrable), the quoted name of the constraint that it serves, its size in bytes.
SELECT i.indexrelid::regclass::text,
       i.indisunique AND i.indnkeyatts = 1 AND i.indpred IS NULL AND i.indexprs IS NULL AND a.attname = 'event_id',
       i.indisvalid AND i.indisready, i.indimmediate, quote_ident(k.conname),
       coalesce(pg_relation_size(i.indexrelid), 0)
FROM pg_catalog.pg_index AS i
LEFT JOIN pg_catalog.pg_attribute AS a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[0]
LEFT JOIN pg_catalog.pg_constraint AS k ON k.conindid = i.indexrelid AND k.contype IN ('p', 'u')
WHERE i.indrelid = to_regclass('events')
ORDER BY 1
