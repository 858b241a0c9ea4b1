-- Returns: is this a standby, is a new transaction read-only, the server's clock as seconds since 1970.
SELECT pg_is_in_recovery(), current_setting('transaction_read_only')::boolean,
       extract(epoch FROM clock_timestamp())::float8
