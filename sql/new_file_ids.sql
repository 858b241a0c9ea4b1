-- The sequence is looked up once, not for each id.
SELECT nextval((SELECT pg_get_serial_sequence('loader_files', 'file_id')::regclass))
FROM generate_series(1, %(count)s)
ORDER BY 1
