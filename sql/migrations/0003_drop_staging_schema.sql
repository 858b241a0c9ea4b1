-- Rows are staged in temporary tables now.
DROP SCHEMA IF EXISTS loader_staging CASCADE;
