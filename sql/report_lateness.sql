-- How long after they happened events were loaded, by the seconds between event_time and the end of their file's load.
-- Parameters: days, percent (of the table's blocks to read; 100 reads all), bounds (ascending, in seconds).
-- Returns: rows by bin; and one row with bin null for all of them, with the median, 95th and 99th percentile.
-- The same REPEATABLE in report_names.sql makes it see the same sample.
WITH late AS (
    SELECT extract(epoch FROM f.finished_at - e.event_time)::double precision AS seconds
    FROM events AS e TABLESAMPLE SYSTEM (%(percent)s) REPEATABLE (1)
    JOIN loader_files AS f ON f.file_id = e.file_id
    WHERE f.finished_at >= date_trunc('day', now(), 'UTC') - make_interval(days => %(days)s - 1)
      AND isfinite(e.event_time)
), placed AS (
    SELECT width_bucket(seconds, %(bounds)s::double precision[]) AS bin, seconds
    FROM late
)
SELECT bin, count(*) AS rows,
       CASE WHEN bin IS NULL THEN percentile_disc(ARRAY[0.5, 0.95, 0.99]) WITHIN GROUP (ORDER BY seconds) END AS quantiles
FROM placed
GROUP BY GROUPING SETS ((bin), ())
ORDER BY bin NULLS LAST
