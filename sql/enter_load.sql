-- Begin a load: beside those of others, or alone, once theirs have ended, for as long as the transaction lasts.
-- Two loads with the same event_ids in another order can wait for each other; whoever had to give way comes alone.
-- Whoever waits to be alone comes before those that ask later. Parameters: is_alone, lock_class, load_lock.
SELECT CASE WHEN %(is_alone)s
    THEN pg_advisory_xact_lock(%(lock_class)s, %(load_lock)s)
    ELSE pg_advisory_xact_lock_shared(%(lock_class)s, %(load_lock)s)
END
