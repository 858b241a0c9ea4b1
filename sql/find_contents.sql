-- What the ledger knows of these contents. Run after claim_contents.sql, as a statement of its own: its snapshot must
-- be younger than the locks, or a load that was committed just before would go unseen.
SELECT sha256, file_id, name, status, rows_read, rows_inserted, rows_duplicate, rows_conflict, rows_rejected, quarantine
FROM loader_files
WHERE sha256 = ANY (%(contents)b::bytea[])
