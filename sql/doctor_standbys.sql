-- Returns: how many standbys are connected.
SELECT count(*) FROM pg_catalog.pg_stat_replication
