-- New rows become events, in the order of event_id: half of what staging and merging them costs.
-- Identifiers: {columns}.
-- find_known.sql has said that their keys are new, or nothing is known that speaks against it. Should one be stored
-- already, this fails with a unique violation; the keys are looked up, or the rows are staged and merged instead.
-- can_copy.sql says where this may be done.
COPY events ({columns}, file_id, line) FROM STDIN (FORMAT binary)
