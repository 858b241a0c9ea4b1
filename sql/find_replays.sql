-- The replays of what was rejected from these contents: the quarantine file, its SHA-256, and where its rows are that
-- were rejected again.
SELECT name, sha256, quarantine
FROM loader_files
WHERE replay_of = ANY (%(contents)s::bytea[])
