-- Write a file's row in the ledger. A content that was refused before may be loaded now; a loaded one stays as it is,
-- and then no row is returned.
INSERT INTO loader_files AS known (
    file_id, sha256, name, size_bytes, status, contract_version, loader_version, host,
    rows_read, rows_inserted, rows_duplicate, rows_conflict, rows_rejected,
    error_code, first_error, quarantine, reject_codes, replay_of, started_at, finished_at
)
VALUES (
    %(file_id)s, %(sha256)s, %(name)s, %(size_bytes)s, %(status)s, %(contract_version)s, %(loader_version)s, %(host)s,
    %(read)s, %(inserted)s, %(duplicates)s, %(conflicts)s, %(rejected)s,
    %(error_code)s, %(first_error)s, %(quarantine)s, %(reject_codes)s, %(replay_of)s,
    clock_timestamp() - make_interval(secs => %(seconds)s), clock_timestamp()
)
ON CONFLICT (sha256) DO UPDATE SET
    file_id = excluded.file_id,
    name = excluded.name,
    status = excluded.status,
    contract_version = excluded.contract_version,
    loader_version = excluded.loader_version,
    host = excluded.host,
    rows_read = excluded.rows_read,
    rows_inserted = excluded.rows_inserted,
    rows_duplicate = excluded.rows_duplicate,
    rows_conflict = excluded.rows_conflict,
    rows_rejected = excluded.rows_rejected,
    error_code = excluded.error_code,
    first_error = excluded.first_error,
    quarantine = excluded.quarantine,
    reject_codes = excluded.reject_codes,
    replay_of = excluded.replay_of,
    started_at = excluded.started_at,
    finished_at = excluded.finished_at
WHERE known.status <> 'loaded'
RETURNING file_id
