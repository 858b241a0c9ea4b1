-- Before PostgreSQL 17. Returns: checkpoints by the clock, checkpoints that WAL or a command asked for, seconds counted.
SELECT checkpoints_timed, checkpoints_req, extract(epoch FROM now() - stats_reset)::float8
FROM pg_catalog.pg_stat_bgwriter
