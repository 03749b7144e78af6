-- From which backups this database was filled (flytewheel/backup): one that did not end goes on when it is asked for again.
CREATE TABLE IF NOT EXISTS restores (         -- IF: a restore of a backup from before has it already
    backup    text PRIMARY KEY,                   -- SHA-256 of its manifest
    begun_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    loaded_at timestamptz,                        -- the rows are there, in the transaction that set this
    ended_at  timestamptz
);
