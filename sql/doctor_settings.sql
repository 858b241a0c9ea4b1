-- The server's settings, by name. Sizes and times are in their unit: a number and its unit, '' where there is none.
-- Returns: name, setting, unit, the values that it may have, what a new session has without the loader's own settings.
-- Parameter: names. Those that the role may not read, or the version doesn't have, are missing.
SELECT name, setting, coalesce(unit, ''), coalesce(enumvals, '{}'), coalesce(reset_val, setting)
FROM pg_catalog.pg_settings
WHERE name = ANY (%(names)s::text[])
