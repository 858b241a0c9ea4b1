-- The last run, as far as the ledger tells: the newest files whose loads followed each other without a long pause.
-- Parameters: pause (seconds), most (how many entries to look at).
-- Returns: when it began and ended, hosts, files by status, rows by outcome. No row where the ledger is empty.
WITH newest AS (
    SELECT * FROM loader_files ORDER BY file_id DESC LIMIT %(most)s
), paused AS (
    SELECT *, started_at - max(finished_at) OVER (
        ORDER BY started_at, file_id ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING
    ) > make_interval(secs => %(pause)s) AS begins
    FROM newest
), numbered AS (
    SELECT *, count(*) FILTER (WHERE begins) OVER (ORDER BY started_at, file_id) AS run
    FROM paused
)
SELECT min(started_at), max(finished_at), array_agg(DISTINCT host),
       count(*) FILTER (WHERE status = 'loaded'), count(*) FILTER (WHERE status = 'refused'),
       sum(rows_read)::bigint, sum(rows_inserted)::bigint, sum(rows_duplicate)::bigint,
       sum(rows_conflict)::bigint, sum(rows_rejected)::bigint
FROM numbered
WHERE run = (SELECT max(run) FROM numbered)
HAVING count(*) > 0
