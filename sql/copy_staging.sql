-- Identifiers: {columns}.
COPY pg_temp.loader_staging ({columns}, file_id, line) FROM STDIN (FORMAT binary)
