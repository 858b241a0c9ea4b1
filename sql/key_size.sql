-- How many bytes the unique index on event_id has, in all partitions; 8192 where it holds nothing.
SELECT coalesce(
    (SELECT sum(pg_relation_size(t.relid))::bigint FROM pg_partition_tree(i.indexrelid) AS t WHERE t.isleaf),
    pg_relation_size(i.indexrelid)
)
FROM pg_catalog.pg_index AS i
JOIN pg_catalog.pg_attribute AS a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[0]
WHERE i.indrelid = to_regclass('events') AND i.indisunique AND i.indnkeyatts = 1 AND a.attname = 'event_id'
LIMIT 1
