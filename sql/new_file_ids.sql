SELECT nextval(pg_get_serial_sequence('loader_files', 'file_id'))
FROM generate_series(1, %(count)s)
ORDER BY 1
