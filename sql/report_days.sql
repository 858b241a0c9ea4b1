-- What became of files and rows, day by day (UTC) of their load; days without a file are there too.
-- Parameters: days.
-- busy_seconds is the time in which at least one file was being loaded: loads that run side by side count once.
WITH shown AS (
    SELECT date_trunc('day', now(), 'UTC') - make_interval(days => %(days)s - 1) AS since
), calendar AS (
    SELECT (s.since AT TIME ZONE 'UTC')::date + n AS day
    FROM shown AS s
    CROSS JOIN generate_series(0, %(days)s - 1) AS n
), ledger AS (
    SELECT (f.finished_at AT TIME ZONE 'UTC')::date AS day, f.*
    FROM loader_files AS f
    WHERE f.finished_at >= (SELECT since FROM shown)
), busy AS (
    SELECT day, range_agg(tstzrange(least(started_at, finished_at), finished_at)) AS times
    FROM ledger
    WHERE status = 'loaded'
    GROUP BY day
)
SELECT c.day,
       count(*) FILTER (WHERE l.status = 'loaded') AS files,
       count(*) FILTER (WHERE l.status = 'refused') AS refused,
       coalesce(sum(l.rows_read) FILTER (WHERE l.status = 'loaded'), 0)::bigint AS read,
       coalesce(sum(l.rows_inserted) FILTER (WHERE l.status = 'loaded'), 0)::bigint AS inserted,
       coalesce(sum(l.rows_duplicate) FILTER (WHERE l.status = 'loaded'), 0)::bigint AS duplicates,
       coalesce(sum(l.rows_conflict) FILTER (WHERE l.status = 'loaded'), 0)::bigint AS conflicts,
       coalesce(sum(l.rows_rejected) FILTER (WHERE l.status = 'loaded'), 0)::bigint AS rejected,
       coalesce(sum(l.size_bytes) FILTER (WHERE l.status = 'loaded'), 0)::bigint AS size_bytes,
       coalesce((
           SELECT sum(extract(epoch FROM upper(t) - lower(t)))
           FROM busy AS b
           CROSS JOIN LATERAL unnest(b.times) AS t
           WHERE b.day = c.day
       ), 0)::double precision AS busy_seconds
FROM calendar AS c
LEFT JOIN ledger AS l ON l.day = c.day
GROUP BY c.day
ORDER BY c.day
