-- Schema 6: what was granted to projects. Schema numbers: never edited after a release.

-- Rules that approvals added for every session of a person on a workspace.
CREATE TABLE project_grants (
    grant_id    TEXT PRIMARY KEY,
    workspace   TEXT NOT NULL,
    principal   TEXT NOT NULL,
    rule        TEXT NOT NULL,
    granted_us  INTEGER NOT NULL,
    expires_us  INTEGER NOT NULL,
    granted_by  TEXT NOT NULL,
    approval_id TEXT NOT NULL,
    revoked_us  INTEGER
) WITHOUT ROWID;
CREATE INDEX project_grants_time ON project_grants (granted_us);
