-- Identifiers: {table}, {columns}.
COPY {table} ({columns}, file_id, line) FROM STDIN (FORMAT binary)
