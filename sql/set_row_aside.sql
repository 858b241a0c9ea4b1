INSERT INTO pg_temp.loader_set_aside (file_id, line, code, column_name, message)
VALUES (%(file_id)s, %(line)s, %(code)s, %(column)s, %(message)s)
