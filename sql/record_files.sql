-- Write files' rows in the ledger. A content that was refused before may be loaded now; a loaded one stays as it is.
-- Parameters: files, a JSON array with an object for each file. seconds is how long it was in hand.
INSERT INTO loader_files AS known (
    file_id, sha256, name, size_bytes, status, contract_version, loader_version, host,
    rows_read, rows_inserted, rows_duplicate, rows_conflict, rows_rejected,
    error_code, first_error, quarantine, reject_codes, replay_of, started_at, finished_at
)
SELECT
    file_id, sha256, name, size_bytes, status, contract_version, loader_version, host,
    rows_read, rows_inserted, rows_duplicate, rows_conflict, rows_rejected,
    error_code, first_error, quarantine, reject_codes, replay_of,
    clock_timestamp() - make_interval(secs => seconds), clock_timestamp()
FROM json_to_recordset(%(files)s) AS file (
    file_id bigint, sha256 bytea, name text, size_bytes bigint, status text, contract_version text,
    loader_version text, host text, rows_read bigint, rows_inserted bigint, rows_duplicate bigint, rows_conflict bigint,
    rows_rejected bigint, error_code text, first_error text, quarantine text, reject_codes jsonb, replay_of bytea,
    seconds double precision
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
