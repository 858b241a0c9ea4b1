-- Staged rows become events. Sorted, so that the walk through the primary key's B-tree is local; among rows with the
-- same event_id, the one that was staged first comes first (ctid) and wins.
INSERT INTO events (event_id, event_time, event_name, user_id, properties)
SELECT event_id, event_time, event_name, user_id, properties
FROM contender_staging
ORDER BY event_id, ctid
ON CONFLICT (event_id) DO NOTHING
