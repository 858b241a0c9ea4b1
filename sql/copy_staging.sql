-- Identifiers: {table}, {columns}.
COPY {table} ({columns}, file_id, line, again) FROM STDIN (FORMAT binary)
