-- A caller's transaction may go on to the next event: nothing of this one stays.
TRUNCATE pg_temp.loader_single, pg_temp.loader_set_aside
