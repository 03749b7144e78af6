-- what follows a promotion, and what goes before a canary.
-- A holdback is the experiment that was promoted, going on: control is the champion of before, which the last 1 - share of the
-- users keep until `holdback_until`. Strata that begin at `holdback_since` or later are the holdback's.
ALTER TABLE experiments ADD COLUMN IF NOT EXISTS holdback_since timestamptz;
ALTER TABLE experiments ADD COLUMN IF NOT EXISTS holdback_until timestamptz;
DO $$ BEGIN
    IF NOT EXISTS (SELECT FROM pg_constraint WHERE conname = 'experiments_state_check'
                   AND pg_get_constraintdef(oid) LIKE '%holdback%') THEN
        ALTER TABLE experiments DROP CONSTRAINT IF EXISTS experiments_state_check;
        ALTER TABLE experiments ADD CONSTRAINT experiments_state_check
            CHECK (state IN ('draft', 'running', 'holdback', 'stopped'));
    END IF;
END $$;
CREATE UNIQUE INDEX IF NOT EXISTS experiments_one_holdback ON experiments (name) WHERE state = 'holdback';
-- The way back, as it was exercised before a canary grew; only ever appended to.
CREATE TABLE IF NOT EXISTS rollout_drills (
    entry         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    experiment_id text        NOT NULL,           -- no reference: it would lock the experiment, and whoever aborts it waits
    seconds       double precision NOT NULL,      -- from the change to the last answer of the treatment
    passed        boolean     NOT NULL,
    report        jsonb       NOT NULL,
    at            timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX IF NOT EXISTS rollout_drills_experiment ON rollout_drills (experiment_id, entry DESC);
CREATE OR REPLACE TRIGGER rollout_drills_stay BEFORE UPDATE OR DELETE ON rollout_drills
    FOR EACH ROW EXECUTE FUNCTION refuse_change();
-- A version that is shown a copy of the traffic, and answers nobody; figures only, nobody's words.
CREATE TABLE IF NOT EXISTS shadows (
    shadow_id   text PRIMARY KEY,
    name        text        NOT NULL,
    champion    text        NOT NULL,
    candidate   text        NOT NULL,
    share       double precision NOT NULL CHECK (share > 0 AND share <= 1),
    concurrency integer     NOT NULL CHECK (concurrency > 0),  -- of one worker
    launch_key  text        NOT NULL UNIQUE,
    since       timestamptz NOT NULL DEFAULT now(),
    until       timestamptz NOT NULL,
    ended_at    timestamptz,
    reason      text
);
CREATE UNIQUE INDEX IF NOT EXISTS shadows_one_open ON shadows (name) WHERE ended_at IS NULL;
CREATE OR REPLACE TRIGGER shadows_announce AFTER INSERT OR UPDATE OR DELETE ON shadows
    FOR EACH ROW EXECUTE FUNCTION announce_experiment();
CREATE TABLE IF NOT EXISTS shadow_answers (
    entry         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    shadow_id     text        NOT NULL REFERENCES shadows (shadow_id) ON DELETE CASCADE,
    at            timestamptz NOT NULL DEFAULT clock_timestamp(),
    champion_ms   double precision NOT NULL,
    candidate_ms  double precision NOT NULL,
    error         text,                           -- why the candidate gave no answer; null: it did
    champion_chars  integer   NOT NULL,
    candidate_chars integer   NOT NULL,
    similarity    double precision                -- of their words, in [0, 1]; null where one is empty
);
CREATE INDEX IF NOT EXISTS shadow_answers_shadow ON shadow_answers (shadow_id);
