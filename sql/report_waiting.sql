-- How many rows of these files went to quarantine. Parameters: file_ids.
SELECT file_id, rows_conflict + rows_rejected AS rows
FROM loader_files
WHERE file_id = ANY (%(file_ids)s::bigint[])
