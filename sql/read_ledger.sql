-- The ledger, newest first. Parameters, each null where it doesn't matter: since (included), until (not included),
-- status, name (a regular expression for the whole name), exact_name, beginning (of the SHA-256, in hex), file_id, most.
SELECT file_id, encode(sha256, 'hex'), name, size_bytes, status, contract_version, loader_version, host,
       rows_read, rows_inserted, rows_duplicate, rows_conflict, rows_rejected,
       reject_codes, error_code, first_error, quarantine, started_at, finished_at,
       encode(replay_of, 'hex')
FROM loader_files
WHERE (%(since)s::timestamptz IS NULL OR finished_at >= %(since)s)
  AND (%(until)s::timestamptz IS NULL OR finished_at < %(until)s)
  AND (%(status)s::text IS NULL OR status = %(status)s)
  AND (%(name)s::text IS NULL OR name ~ %(name)s)
  AND (%(exact_name)s::text IS NULL OR name = %(exact_name)s)
  AND (%(beginning)s::text IS NULL OR encode(sha256, 'hex') LIKE %(beginning)s::text || '%%')
  AND (%(file_id)s::bigint IS NULL OR file_id = %(file_id)s)
ORDER BY finished_at DESC, file_id DESC
LIMIT %(most)s::bigint
