-- How many more connections there may be, counting this session as free again.
-- Returns: of the server, of the database, of the role; NULL where there is no limit of its own.
SELECT (SELECT sum(CASE WHEN s.name = 'max_connections' THEN s.setting::int ELSE -s.setting::int END)
        FROM pg_catalog.pg_settings AS s
        WHERE s.name IN ('max_connections', 'superuser_reserved_connections', 'reserved_connections'))
       - (SELECT count(*) FROM pg_catalog.pg_stat_activity WHERE datid IS NOT NULL AND pid <> pg_backend_pid()),
       (SELECT d.datconnlimit FROM pg_catalog.pg_database AS d WHERE d.datname = current_database()
                                                                 AND d.datconnlimit >= 0)
       - (SELECT count(*) FROM pg_catalog.pg_stat_activity
          WHERE datname = current_database() AND pid <> pg_backend_pid()),
       (SELECT r.rolconnlimit FROM pg_catalog.pg_roles AS r WHERE r.rolname = current_user AND r.rolconnlimit >= 0)
       - (SELECT count(*) FROM pg_catalog.pg_stat_activity WHERE usename = current_user AND pid <> pg_backend_pid())
