-- For a session beside a load's own. It may meet somebody who waits for the load to end, of which Postgres, that sees two
-- sessions, knows nothing; the load then does without it.
SELECT set_config('lock_timeout', '1s', false)
