-- A replay loads rows again that were rejected before. Its sha256 and name are those of the quarantine file, and
-- replay_of is the sha256 of the content whose load had put the rows there: another row of this table.
ALTER TABLE loader_files ADD COLUMN replay_of bytea CHECK (octet_length(replay_of) = 32);
