-- May new rows be copied straight into events? They may where event_id is unique at each instant (a deferrable
-- constraint is not) and where COPY does what INSERT does: not through a view, nor under row-level security.
-- Returns: true or false. check_key.sql has locked events against changes of this.
SELECT c.relkind IN ('r', 'p')
       AND NOT row_security_active(c.oid)
       AND EXISTS (
           SELECT FROM pg_catalog.pg_index AS i
           JOIN pg_catalog.pg_attribute AS a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[0]
           WHERE i.indrelid = c.oid AND i.indisunique AND i.indimmediate AND i.indisvalid
             AND i.indnkeyatts = 1 AND i.indpred IS NULL AND a.attname = 'event_id'
       )
FROM pg_catalog.pg_class AS c
WHERE c.oid = to_regclass('events')
