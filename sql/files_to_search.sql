-- Files that may hold further rows with some event_id: those loaded since, of which rows are duplicates or conflicts;
-- and those whose rejected rows are at hand. Oldest first.
-- Parameters: since (null: no file is asked for but these), file_ids.
SELECT file_id, encode(sha256, 'hex'), name, size_bytes, rows_duplicate, rows_conflict, rows_rejected, finished_at
FROM loader_files
WHERE (status = 'loaded' AND finished_at >= %(since)s::timestamptz AND (rows_duplicate > 0 OR rows_conflict > 0))
   OR file_id = ANY (%(file_ids)s::bigint[])
ORDER BY finished_at, file_id
