-- Parameters: file_id, line.
DELETE FROM pg_temp.loader_staging WHERE file_id = %(file_id)s AND line = %(line)s
