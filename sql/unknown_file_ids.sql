-- Those of these attempts at files that no entry of the ledger is about: of loads that were rolled back, or are not
-- committed yet.
SELECT file_id, beginning
FROM unnest(%(file_ids)s::bigint[], %(beginnings)s::text[]) AS attempt (file_id, beginning)
WHERE NOT EXISTS (
    SELECT
    FROM loader_files AS f
    WHERE f.file_id = attempt.file_id AND encode(f.sha256, 'hex') LIKE attempt.beginning || '%%'
)
