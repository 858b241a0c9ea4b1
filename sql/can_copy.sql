-- May new rows be copied straight into events? They may where COPY does what INSERT would do, and where event_id is
-- unique at each instant: not if the constraint is deferrable, if there are rules, or if row-level security applies.
-- Returns: true or false. check_key.sql has locked events against changes of this.
SELECT c.relkind IN ('r', 'p')
       AND NOT row_security_active(c.oid)
       AND NOT EXISTS (SELECT FROM pg_catalog.pg_rewrite AS r WHERE r.ev_class = c.oid)
       AND EXISTS (
           SELECT FROM pg_catalog.pg_index AS i
           JOIN pg_catalog.pg_attribute AS a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[0]
           WHERE i.indrelid = c.oid AND i.indisunique AND i.indimmediate AND i.indisvalid
             AND i.indnkeyatts = 1 AND i.indpred IS NULL AND a.attname = 'event_id'
       )
FROM pg_catalog.pg_class AS c
WHERE c.oid = to_regclass('events')
