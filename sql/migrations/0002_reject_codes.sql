-- Why rows of a file went to quarantine: how many of them for each code. A row with several reasons counts under each
-- of their codes.
ALTER TABLE loader_files ADD COLUMN reject_codes jsonb NOT NULL DEFAULT '{}';
