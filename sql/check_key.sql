-- Inserts nothing. Fails unless event_id has a unique constraint, and locks events against losing it until the end of
-- the transaction: copying rows straight into events relies on it.
INSERT INTO events (event_id)
SELECT NULL::uuid WHERE false
ON CONFLICT (event_id) DO NOTHING
