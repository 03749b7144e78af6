-- what people were told, and what scheduled looks found.
-- Who was told what (flytewheel/notify/ledger.py): a key is of an execution and what it says.
CREATE TABLE IF NOT EXISTS notifications (
    key        text        NOT NULL,
    channel    text        NOT NULL,               -- slack | pagerduty | mail
    name       text        NOT NULL,               -- of the model
    title      text        NOT NULL,
    tries      integer     NOT NULL DEFAULT 1,
    first_at   timestamptz NOT NULL DEFAULT clock_timestamp(),
    claimed_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    sent_at    timestamptz,
    error      text,                               -- why the last try failed; holds no secret
    PRIMARY KEY (key, channel)
);
-- What the scheduled looks found (flytewheel/upkeep/): one row for each execution.
CREATE TABLE IF NOT EXISTS upkeep_reports (
    entry     bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    kind      text        NOT NULL,                -- quality | calibration | retention
    name      text        NOT NULL,
    execution text        NOT NULL,
    at        timestamptz NOT NULL DEFAULT clock_timestamp(),
    report    jsonb       NOT NULL,
    alarms    text[]      NOT NULL,
    UNIQUE (kind, name, execution)
);
CREATE INDEX IF NOT EXISTS upkeep_reports_at ON upkeep_reports (name, at);
