-- Those of these ids that no entry of the ledger has: of loads that were rolled back, or are not committed yet.
SELECT id
FROM unnest(%(file_ids)s::bigint[]) AS id
WHERE NOT EXISTS (SELECT FROM loader_files AS f WHERE f.file_id = id)
