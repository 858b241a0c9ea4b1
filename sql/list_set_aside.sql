SELECT file_id, line, code, column_name, message
FROM pg_temp.loader_set_aside
ORDER BY file_id, line
