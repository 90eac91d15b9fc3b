-- Schema 2. Never edited after a release: the next change is v3.sql.

-- The task a session worked on when it made the model request; NULL: none.
ALTER TABLE usage ADD COLUMN task_id TEXT;
CREATE INDEX usage_task ON usage (task_id) WHERE task_id IS NOT NULL;
