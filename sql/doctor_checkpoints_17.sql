-- Since PostgreSQL 17. Returns: checkpoints by the clock, checkpoints that WAL or a command asked for, seconds counted.
SELECT num_timed, num_requested, extract(epoch FROM now() - stats_reset)::float8
FROM pg_catalog.pg_stat_checkpointer
