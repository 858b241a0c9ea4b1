-- Check deferred constraints with each statement of this transaction, which then tells the row that breaks one. At
-- COMMIT nothing would, and all that the load holds would fail with that row, each time anew.
SET CONSTRAINTS ALL IMMEDIATE
