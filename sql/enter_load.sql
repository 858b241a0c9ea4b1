-- Begin a load: beside those of others, or alone, once theirs have ended, for as long as the transaction lasts.
-- Two loads with the same event_ids in another order can wait for each other; whoever had to give way comes alone.
-- Whoever waits to be alone comes before those that ask later. However long the loads of others take, they end.
-- Identifiers: {is_alone}, {lock_class}, {load_lock}; {lock_timeout} is what holds for all else.
SET LOCAL lock_timeout = 0;
SELECT CASE WHEN {is_alone}
    THEN pg_advisory_xact_lock({lock_class}, {load_lock})
    ELSE pg_advisory_xact_lock_shared({lock_class}, {load_lock})
END;
SET LOCAL lock_timeout = {lock_timeout};
