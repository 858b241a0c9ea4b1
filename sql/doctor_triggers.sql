-- The triggers on events that an insert fires.
-- Returns: the quoted name, is it run for each row, before it is stored, is it a foreign key's.
SELECT quote_ident(t.tgname), t.tgtype & 1 <> 0, t.tgtype & 66 <> 0, t.tgisinternal
FROM pg_catalog.pg_trigger AS t
WHERE t.tgrelid = to_regclass('events')
  AND t.tgtype & 4 <> 0
  AND t.tgenabled IN ('O', 'A') -- what fires in an ordinary session
ORDER BY 1
