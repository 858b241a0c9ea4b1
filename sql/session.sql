-- Settings of every session of the loader, whatever the role's or the database's defaults.
SELECT set_config(name, value, false)
FROM (VALUES
    ('TimeZone', 'UTC'),
    ('DateStyle', 'ISO, YMD'),
    ('default_transaction_isolation', 'read committed'),
    -- A merge of a large file takes its time, and the transaction waits while blocks are decoded.
    ('statement_timeout', '0'),
    ('idle_in_transaction_session_timeout', '0'),
    ('idle_session_timeout', '0'),
    ('transaction_timeout', '0'),
    -- Nobody waits for ever: not for another loader, not for somebody's lock on events.
    ('lock_timeout', %(lock_timeout)s),
    -- The statement of a loader that was killed ends soon.
    ('client_connection_check_interval', %(check_interval)s),
    -- So do the claims of one whose host is gone. (Of no effect over a Unix socket.)
    ('tcp_keepalives_idle', %(keepalives_idle)s),
    ('tcp_keepalives_interval', %(keepalives_interval)s),
    ('tcp_keepalives_count', %(keepalives_count)s),
    -- A file leaves landing when its COMMIT is on disk.
    ('synchronous_commit', coalesce(nullif(current_setting('synchronous_commit'), 'off'), 'on')),
    -- Room to sort a merge's rows.
    ('work_mem', '64MB'),
    -- Compiling a merge takes longer than it saves.
    ('jit', 'off')
) AS setting (name, value)
WHERE name IN (SELECT name FROM pg_catalog.pg_settings) -- transaction_timeout came with PostgreSQL 17
