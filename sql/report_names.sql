-- The most frequent event names among the events that were loaded in the last days.
-- Parameters: days, percent (as in report_lateness.sql), most (how many at most).
-- Returns: with each, how many names and rows there are in all.
SELECT left(e.event_name, 200) AS name, count(*) AS rows,
       count(*) OVER () AS names, (sum(count(*)) OVER ())::bigint AS all_rows
FROM events AS e TABLESAMPLE SYSTEM (%(percent)s) REPEATABLE (1)
JOIN loader_files AS f ON f.file_id = e.file_id
WHERE f.finished_at >= date_trunc('day', now(), 'UTC') - make_interval(days => %(days)s - 1)
GROUP BY 1
ORDER BY 2 DESC, 1
LIMIT %(most)s
