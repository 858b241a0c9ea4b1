-- The rules on events, but for the one that makes a view a view.
-- Returns: the quoted name; is it in force and about INSERT or UPDATE,
-- which no merge can do with.
SELECT quote_ident(r.rulename), r.ev_type IN ('2', '3') AND r.ev_enabled IN ('O', 'A')
FROM pg_catalog.pg_rewrite AS r
WHERE r.ev_class = to_regclass('events') AND r.ev_type <> '1'
ORDER BY 1
