-- New rows become events, in the order of event_id: half of what staging and merging them costs.
-- Identifiers: {columns}.
-- find_known.sql has said that their keys are new. Should another session insert one of them in between, this fails
-- with a unique violation, and the rows are staged and merged instead. can_copy.sql says where this may be done.
COPY events ({columns}, file_id, line) FROM STDIN (FORMAT binary)
