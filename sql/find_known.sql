-- Which of the keys are stored already? Parameter: keys. Returns: their places in the list, counted from 0.
-- The lookup is a subquery of its own, so that it always goes by the key; as a join it could read all of events.
SELECT coalesce(array_agg(k.place - 1), '{}')
FROM unnest(%(keys)s::uuid[]) WITH ORDINALITY AS k (event_id, place)
WHERE (SELECT true FROM events AS e WHERE e.event_id = k.event_id)
