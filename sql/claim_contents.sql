-- Try to take the contents with these keys (the first 8 bytes of each SHA-256) for this transaction.
SELECT key, pg_try_advisory_xact_lock(key) AS taken
FROM unnest(%(keys)b::bigint[]) AS key
