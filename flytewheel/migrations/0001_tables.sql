-- Tables of the loop. This file is frozen: what changes from here on is a file of its own.
--
-- To change the schema, add `NNNN_noun.sql` beside this one, with the next number. It runs once, in one transaction with the
-- others that a database has not seen (so: no BEGIN, COMMIT or CONCURRENTLY), and is never edited after it was released: its
-- digest is kept, and another content under a number that ran is refused. While routers of the version before still run, it may
-- only add: tables, columns with a default, indexes, triggers with new names; what goes, goes one release later.
--
-- Only this first file is written to run also over tables that exist (IF NOT EXISTS …): it takes over the databases of before
-- there were numbers.
-- `xid` is the transaction that wrote a row: curation windows close on commit order (a row belongs to the first window whose
-- snapshot sees its transaction), never on client time.
CREATE TABLE IF NOT EXISTS interactions (
    interaction_id text PRIMARY KEY,
    source         text        NOT NULL,
    user_id        text        NOT NULL,
    "timestamp"    timestamptz NOT NULL,
    body           jsonb       NOT NULL,          -- the whole Interaction, canonical
    digest         text        NOT NULL,          -- of body: the same id with another body is a conflict
    xid            xid8        NOT NULL DEFAULT pg_current_xact_id(),
    stored_at      timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX IF NOT EXISTS interactions_source_xid ON interactions (source, xid);

CREATE TABLE IF NOT EXISTS feedback_events (
    event_id       text PRIMARY KEY,
    interaction_id text        NOT NULL,          -- stored, see below
    source         text        NOT NULL,
    user_id        text        NOT NULL,
    feedback_type  text        NOT NULL,
    "timestamp"    timestamptz NOT NULL,
    body           jsonb       NOT NULL,          -- the whole FeedbackEvent, canonical
    digest         text        NOT NULL,
    metadata       jsonb       NOT NULL DEFAULT '{}',
    xid            xid8        NOT NULL DEFAULT pg_current_xact_id(),
    stored_at      timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX IF NOT EXISTS feedback_events_source_xid ON feedback_events (source, xid);
CREATE INDEX IF NOT EXISTS feedback_events_interaction ON feedback_events (interaction_id);

-- An event is about a stored interaction and goes with it: a foreign key, but checked a statement at a time and without a
-- lock in each interaction's row, which cost as much as all the rest of an event (docs/adr/0042-a-batch-at-a-time.md).
-- What adds events holds a lock together with its like, what takes interactions away holds it alone, both until they
-- commit: so each sees what the other did.
CREATE OR REPLACE FUNCTION check_events() RETURNS trigger LANGUAGE plpgsql
    SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS  -- a plan is kept, for tables of any size
$$ DECLARE missing text; BEGIN
    IF current_setting('transaction_isolation') <> 'read committed' THEN  -- an older snapshot does not see who went
        RAISE EXCEPTION 'feedback_events are written in read committed transactions only';
    END IF;
    PERFORM pg_advisory_xact_lock_shared(1702258030);
    SELECT a.interaction_id INTO missing FROM added a
        WHERE NOT EXISTS (SELECT FROM interactions i WHERE i.interaction_id = a.interaction_id) LIMIT 1;
    IF FOUND THEN
        RAISE foreign_key_violation USING MESSAGE = 'an event is about an interaction that is not stored',
            DETAIL = missing, TABLE = 'feedback_events', CONSTRAINT = 'feedback_events_interaction';
    END IF;
    RETURN NULL;
END $$;
CREATE OR REPLACE FUNCTION take_events_along() RETURNS trigger LANGUAGE plpgsql
    SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS
$$ BEGIN
    IF NOT EXISTS (SELECT FROM gone) THEN RETURN NULL; END IF;
    IF current_setting('transaction_isolation') <> 'read committed' THEN
        RAISE EXCEPTION 'interactions are deleted in read committed transactions only';
    END IF;
    PERFORM pg_advisory_xact_lock(1702258030);
    DELETE FROM feedback_events e USING gone g WHERE e.interaction_id = g.interaction_id;
    RETURN NULL;
END $$;
CREATE OR REPLACE FUNCTION keep_events_company() RETURNS trigger LANGUAGE plpgsql AS
$$ DECLARE found boolean; BEGIN
    PERFORM pg_advisory_xact_lock(1702258030);
    IF TG_OP = 'TRUNCATE' THEN
        found := EXISTS (SELECT FROM feedback_events);
    ELSE
        found := EXISTS (SELECT FROM feedback_events WHERE interaction_id = OLD.interaction_id);
    END IF;
    IF found THEN
        RAISE foreign_key_violation USING MESSAGE = 'an interaction has events, which would be about nothing',
            TABLE = 'feedback_events', CONSTRAINT = 'feedback_events_interaction';
    END IF;
    RETURN NULL;
END $$;
DO $$ BEGIN
    IF EXISTS (SELECT FROM pg_constraint WHERE conname = 'feedback_events_interaction_id_fkey'
               AND conrelid = 'feedback_events'::regclass) THEN
        ALTER TABLE feedback_events DROP CONSTRAINT feedback_events_interaction_id_fkey;
    END IF;
    IF NOT EXISTS (SELECT FROM pg_trigger
                   WHERE tgname = 'interactions_truncated' AND tgrelid = 'interactions'::regclass) THEN
        CREATE TRIGGER feedback_events_added AFTER INSERT ON feedback_events REFERENCING NEW TABLE AS added
            FOR EACH STATEMENT EXECUTE FUNCTION check_events();
        CREATE TRIGGER feedback_events_changed AFTER UPDATE ON feedback_events REFERENCING NEW TABLE AS added
            FOR EACH STATEMENT EXECUTE FUNCTION check_events();
        CREATE TRIGGER interactions_take_events AFTER DELETE ON interactions REFERENCING OLD TABLE AS gone
            FOR EACH STATEMENT EXECUTE FUNCTION take_events_along();
        CREATE TRIGGER interactions_renamed AFTER UPDATE OF interaction_id ON interactions FOR EACH ROW
            WHEN (OLD.interaction_id <> NEW.interaction_id) EXECUTE FUNCTION keep_events_company();
        CREATE TRIGGER interactions_truncated AFTER TRUNCATE ON interactions
            FOR EACH STATEMENT EXECUTE FUNCTION keep_events_company();
    END IF;
END $$;

-- What of an answer its context does not hold, counted as it was logged. No row: it has no context, or was skipped.
CREATE TABLE IF NOT EXISTS groundedness (
    interaction_id text PRIMARY KEY REFERENCES interactions (interaction_id) ON DELETE CASCADE,
    spans          integer     NOT NULL,          -- numbers, names, commands, identifiers, quotations
    unsupported    integer     NOT NULL,
    kinds          jsonb       NOT NULL,          -- of the unsupported: kind -> count
    checked_at     timestamptz NOT NULL DEFAULT now()
);

ALTER TABLE groundedness ADD COLUMN IF NOT EXISTS xid xid8 NOT NULL DEFAULT pg_current_xact_id();
CREATE INDEX IF NOT EXISTS groundedness_xid ON groundedness (xid);

CREATE TABLE IF NOT EXISTS quarantine (
    digest    text PRIMARY KEY,                   -- of kind + line: importing the same file twice counts a bad line once
    kind      text        NOT NULL,               -- interaction | feedback
    source    text        NOT NULL,
    reason    text        NOT NULL,
    line      text        NOT NULL,
    stored_at timestamptz NOT NULL DEFAULT now()
);

-- What became of the lines of an import; the rows that it stored carry its xid.
CREATE TABLE IF NOT EXISTS imports (
    xid          xid8        NOT NULL DEFAULT pg_current_xact_id(),
    kind         text        NOT NULL CHECK (kind IN ('interaction', 'feedback')),
    source       text        NOT NULL,
    lines_read   bigint      NOT NULL,
    stored       bigint      NOT NULL,
    duplicates   bigint      NOT NULL,
    quarantined  jsonb       NOT NULL,            -- lines by reason
    imported_at  timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (xid, kind)
);

-- What went because of its age, a row for each time that it was looked for.
CREATE TABLE IF NOT EXISTS expiries (
    entry        bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    by           text        NOT NULL,
    days         double precision NOT NULL,
    cutoff       timestamptz NOT NULL,
    interactions bigint      NOT NULL,
    events       bigint      NOT NULL,
    quarantined  bigint      NOT NULL,
    windows      bigint      NOT NULL,            -- that were noted anew
    held         jsonb       NOT NULL,            -- interactions that stayed, by reason
    at           timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- A closed window: every row of its sources with low_xid <= xid < high_xid. Numbers and marks of a series follow each other.
CREATE TABLE IF NOT EXISTS windows (
    series         text        NOT NULL,          -- name of the model and its sources
    number         integer     NOT NULL CHECK (number > 0),
    sources        text[]      NOT NULL,
    low_xid        xid8        NOT NULL,
    high_xid       xid8        NOT NULL CHECK (high_xid >= low_xid),
    interactions   bigint      NOT NULL,          -- of its own
    events         bigint      NOT NULL,          -- of its own
    releases       bigint      NOT NULL,          -- votes that a person let out of the quarantine
    revisited      bigint      NOT NULL,          -- interactions of earlier windows that are brought along
    earlier_events bigint      NOT NULL,          -- and their events
    digest         text        NOT NULL,          -- of ids and digests of its own rows
    closed_at      timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (series, number)
);

-- Votes that curation put into quarantine; the event itself stays where it is.
CREATE TABLE IF NOT EXISTS held_votes (
    series   text        NOT NULL,
    event_id text        NOT NULL,                -- no reference: an erased event takes nothing personal with it here
    number   integer     NOT NULL,                -- of the window whose curation held it first
    reason   text        NOT NULL,
    rule     text        NOT NULL,
    xid      xid8        NOT NULL DEFAULT pg_current_xact_id(),
    held_at  timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (series, event_id),
    FOREIGN KEY (series, number) REFERENCES windows (series, number)
);
CREATE INDEX IF NOT EXISTS held_votes_event ON held_votes (event_id);

CREATE TABLE IF NOT EXISTS released_votes (
    series      text        NOT NULL,
    event_id    text        NOT NULL,
    xid         xid8        NOT NULL DEFAULT pg_current_xact_id(),
    released_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (series, event_id),
    FOREIGN KEY (series, event_id) REFERENCES held_votes (series, event_id) ON DELETE CASCADE
);
CREATE INDEX IF NOT EXISTS released_votes_xid ON released_votes (series, xid);

CREATE TABLE IF NOT EXISTS experiments (
    experiment_id text PRIMARY KEY,
    name          text        NOT NULL,           -- the model name
    state         text        NOT NULL CHECK (state IN ('draft', 'running', 'stopped')),
    control       text        NOT NULL,           -- version
    treatment     text        NOT NULL,           -- version
    share         double precision NOT NULL CHECK (share >= 0 AND share <= 1),
    body          jsonb       NOT NULL,           -- metrics, guardrails, stages, who opened it with which key
    launch_key    text        NOT NULL UNIQUE,    -- idempotency: the same launch opens one experiment
    reason        text,
    created_at    timestamptz NOT NULL DEFAULT now(),
    stopped_at    timestamptz
);
-- Who may meet it: group and slots [from, to) of 1,000, holdout_share and held_out (SHA-256 of ids); {}: everybody.
ALTER TABLE experiments ADD COLUMN IF NOT EXISTS layer jsonb NOT NULL DEFAULT '{}';
CREATE TABLE IF NOT EXISTS holdout (              -- users whom no experiment may have, from the next that opens on
    one   boolean PRIMARY KEY DEFAULT true CHECK (one),
    share double precision NOT NULL CHECK (share >= 0 AND share < 1)
);
CREATE TABLE IF NOT EXISTS holdout_users (user_digest text PRIMARY KEY);  -- SHA-256 of the id, in hex
CREATE UNIQUE INDEX IF NOT EXISTS experiments_one_running ON experiments (name) WHERE state = 'running';
DO $$ BEGIN                                       -- of before there were drafts
    IF NOT EXISTS (SELECT FROM pg_constraint WHERE conname = 'experiments_state_check'
                   AND pg_get_constraintdef(oid) LIKE '%draft%') THEN
        ALTER TABLE experiments DROP CONSTRAINT IF EXISTS experiments_state_check;
        ALTER TABLE experiments ADD CONSTRAINT experiments_state_check CHECK (state IN ('draft', 'running', 'stopped'));
    END IF;
END $$;
-- Routers listen: who meets which arm changes everywhere within moments of the commit.
CREATE OR REPLACE FUNCTION announce_experiment() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN PERFORM pg_notify('flytewheel_changes', 'experiment ' || coalesce(NEW.name, OLD.name)); RETURN NULL; END $$;
DO $$ BEGIN
    IF NOT EXISTS (SELECT FROM pg_trigger WHERE tgname = 'experiments_announce' AND tgrelid = 'experiments'::regclass) THEN
        CREATE TRIGGER experiments_announce AFTER INSERT OR UPDATE OR DELETE ON experiments
            FOR EACH ROW EXECUTE FUNCTION announce_experiment();
    END IF;
END $$;

CREATE TABLE IF NOT EXISTS rollouts (
    rollout_id    text PRIMARY KEY,
    name          text        NOT NULL,
    experiment_id text        NOT NULL REFERENCES experiments (experiment_id),
    state         text        NOT NULL CHECK (state IN ('active', 'paused', 'promoted', 'rolled_back')),
    stage         integer     NOT NULL,           -- index into the recipe's rollout_stages
    fence         bigint      NOT NULL DEFAULT 0, -- fencing token: grows with every change
    stage_since   timestamptz NOT NULL DEFAULT now(),
    created_at    timestamptz NOT NULL DEFAULT now()
);
CREATE UNIQUE INDEX IF NOT EXISTS rollouts_one_active ON rollouts (name) WHERE state IN ('active', 'paused');

CREATE TABLE IF NOT EXISTS rollout_log (
    entry         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    rollout_id    text        NOT NULL REFERENCES rollouts (rollout_id),
    fence         bigint      NOT NULL,
    actor         text        NOT NULL,
    action        text        NOT NULL,
    detail        jsonb       NOT NULL DEFAULT '{}',
    at            timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE IF NOT EXISTS outbox (
    entry   bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    topic   text        NOT NULL,
    body    jsonb       NOT NULL,
    at      timestamptz NOT NULL DEFAULT now(),
    sent_at timestamptz
);

CREATE TABLE IF NOT EXISTS runs (
    run_id        text PRIMARY KEY,
    name          text        NOT NULL,
    recipe_digest text        NOT NULL,
    recipe        jsonb       NOT NULL,
    "window"      jsonb       NOT NULL,
    execution     text,                           -- the execution that opened or last resumed it
    status        text        NOT NULL CHECK (status IN ('running', 'succeeded', 'failed')),
    station       text,                           -- the last one that began
    error         text,
    started_at    timestamptz NOT NULL DEFAULT now(),
    ended_at      timestamptz
);
CREATE INDEX IF NOT EXISTS runs_newest ON runs (name, recipe_digest, started_at);

CREATE TABLE IF NOT EXISTS run_stations (
    run_id     text        NOT NULL REFERENCES runs (run_id) ON DELETE CASCADE,
    station    text        NOT NULL,
    status     text        NOT NULL CHECK (status IN ('running', 'succeeded', 'failed', 'skipped')),
    report     jsonb       NOT NULL DEFAULT '{}',
    started_at timestamptz NOT NULL DEFAULT now(),
    ended_at   timestamptz,
    PRIMARY KEY (run_id, station)
);

-- What a person decided in the place of the gate, only ever appended to; the last one of a run counts.
CREATE TABLE IF NOT EXISTS gate_overrides (
    entry     bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    run_id    text        NOT NULL,
    candidate text        NOT NULL,               -- digest of the weights that were judged
    verdict   text        NOT NULL,               -- the gate's own
    decision  text        NOT NULL CHECK (decision IN ('promote_to_canary', 'hold', 'reject')),
    by        text        NOT NULL CHECK (by <> ''),
    reason    text        NOT NULL CHECK (reason <> ''),
    at        timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX IF NOT EXISTS gate_overrides_run ON gate_overrides (run_id, entry);
CREATE OR REPLACE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN RAISE EXCEPTION '% is only ever appended to', TG_TABLE_NAME; END $$;
CREATE OR REPLACE TRIGGER gate_overrides_stay BEFORE UPDATE OR DELETE ON gate_overrides
    FOR EACH ROW EXECUTE FUNCTION refuse_change();

-- Duels of an evaluation that people are asked about, blind; "ours" is the candidate's answer, "theirs" the champion's.
CREATE TABLE IF NOT EXISTS reviews (
    review_id text PRIMARY KEY,                   -- says nothing about the run: reviewers see it
    run_id    text        NOT NULL UNIQUE,
    name      text        NOT NULL,               -- of the model
    system    text,                               -- the recipe's system prompt, which opens every prompt
    shared    double precision NOT NULL CHECK (shared >= 0 AND shared <= 1),
    salt      text        NOT NULL,               -- decides sides and orders; no reviewer may know it
    opened_at timestamptz NOT NULL DEFAULT now(),
    closed_at timestamptz,                        -- no label is taken from then on
    stored    jsonb                               -- what its duels became in the feedback store
);
CREATE INDEX IF NOT EXISTS reviews_name ON reviews (name, opened_at);

CREATE TABLE IF NOT EXISTS review_duels (
    review_id text        NOT NULL REFERENCES reviews (review_id) ON DELETE CASCADE,
    duel_id   text        NOT NULL,               -- records.duel_id: of the prompt and both answers, in no order
    user_id   text        NOT NULL,               -- whose prompt it is
    topic     text        NOT NULL,
    prompt    jsonb       NOT NULL,
    ours      text        NOT NULL,
    theirs    text        NOT NULL,
    shared    boolean     NOT NULL,               -- shown to every reviewer
    PRIMARY KEY (review_id, duel_id)
);
CREATE INDEX IF NOT EXISTS review_duels_duel ON review_duels (duel_id);

CREATE TABLE IF NOT EXISTS review_deals (
    review_id text        NOT NULL,
    reviewer  text        NOT NULL,
    duel_id   text        NOT NULL,
    place     integer     NOT NULL,               -- in the reviewer's order, from 0
    dealt_at  timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (review_id, reviewer, duel_id),
    UNIQUE (review_id, reviewer, place),
    FOREIGN KEY (review_id, duel_id) REFERENCES review_duels (review_id, duel_id) ON DELETE CASCADE
);
CREATE INDEX IF NOT EXISTS review_deals_duel ON review_deals (review_id, duel_id);

-- Everything that a reviewer ever said of a duel; the last row counts.
CREATE TABLE IF NOT EXISTS review_labels (
    entry     bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    review_id text        NOT NULL,
    reviewer  text        NOT NULL,
    duel_id   text        NOT NULL,
    said      text        NOT NULL CHECK (said IN ('ours', 'theirs', 'tie', 'skipped', 'withdrawn')),
    comment   text        NOT NULL DEFAULT '',
    at        timestamptz NOT NULL DEFAULT now(),
    FOREIGN KEY (review_id, reviewer, duel_id) REFERENCES review_deals (review_id, reviewer, duel_id) ON DELETE CASCADE
);
CREATE INDEX IF NOT EXISTS review_labels_last ON review_labels (review_id, reviewer, duel_id, entry DESC);
CREATE INDEX IF NOT EXISTS review_labels_duel ON review_labels (duel_id);

-- The regression suite of a model. A case that comes from somebody's words goes with them when they are erased.
CREATE TABLE IF NOT EXISTS suite_cases (
    name           text        NOT NULL,          -- the model name
    case_id        text        NOT NULL,
    body           jsonb       NOT NULL,          -- the whole RegressionCase
    origin         text        NOT NULL,          -- written | correction | rollback | review
    run_id         text        NOT NULL DEFAULT '',  -- the run whose curation brought it; no reference: runs may go
    interaction_id text        REFERENCES interactions (interaction_id) ON DELETE CASCADE,
    event_id       text        REFERENCES feedback_events (event_id) ON DELETE CASCADE,
    added_at       timestamptz NOT NULL DEFAULT clock_timestamp(),
    retired_at     timestamptz,
    retired_by     text,
    retired_reason text,
    PRIMARY KEY (name, case_id)
);
CREATE INDEX IF NOT EXISTS suite_cases_interaction ON suite_cases (interaction_id);
CREATE INDEX IF NOT EXISTS suite_cases_event ON suite_cases (event_id);

-- Cases that do not count for a while, with all that were muted before. No reference: a recipe's own cases can be muted.
CREATE TABLE IF NOT EXISTS suite_mutes (
    entry     bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name      text        NOT NULL,
    case_id   text        NOT NULL,
    reason    text        NOT NULL,
    muted_by  text        NOT NULL,
    muted_at  timestamptz NOT NULL,
    until     timestamptz NOT NULL CHECK (until > muted_at),
    lifted_at timestamptz,
    lifted_by text
);
CREATE INDEX IF NOT EXISTS suite_mutes_case ON suite_mutes (name, case_id);

-- What came of a case last; figures only, nobody's words.
CREATE TABLE IF NOT EXISTS suite_outcomes (
    name    text        NOT NULL,
    case_id text        NOT NULL,
    model   text        NOT NULL,                 -- a version, or the run whose candidate answered
    outcome text        NOT NULL,                 -- passes | fails | cannot tell
    passed  integer     NOT NULL,
    samples integer     NOT NULL,
    origin  text        NOT NULL,
    "check" text        NOT NULL,
    at      timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (name, case_id)
);

-- Rollbacks whose answers were looked through for cases.
CREATE TABLE IF NOT EXISTS suite_rollbacks (
    experiment_id text PRIMARY KEY REFERENCES experiments (experiment_id),
    report        jsonb       NOT NULL,           -- how many became cases, and why others did not
    at            timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- The index of `flytewheel lineage`: which rows of which data set come from whom and from what. Made from the data sets and the
-- registry, and made again from them at any time (`flytewheel lineage index`).
CREATE TABLE IF NOT EXISTS indexed_datasets (
    dataset    text PRIMARY KEY,                  -- digest
    rows       bigint      NOT NULL,
    indexed_at timestamptz NOT NULL DEFAULT now()
);
CREATE TABLE IF NOT EXISTS dataset_rows (
    dataset      text   NOT NULL REFERENCES indexed_datasets (dataset) ON DELETE CASCADE,
    kind         text   NOT NULL,
    part         text   NOT NULL,
    row_id       text   NOT NULL,
    user_id      text   NOT NULL,
    source       text   NOT NULL,                 -- answer, correction, replay …
    interactions text[] NOT NULL,
    events       text[] NOT NULL
);
CREATE INDEX IF NOT EXISTS dataset_rows_dataset ON dataset_rows (dataset);
CREATE INDEX IF NOT EXISTS dataset_rows_user ON dataset_rows (user_id);
CREATE INDEX IF NOT EXISTS dataset_rows_interactions ON dataset_rows USING gin (interactions);
CREATE INDEX IF NOT EXISTS dataset_rows_events ON dataset_rows USING gin (events);
CREATE TABLE IF NOT EXISTS indexed_versions (
    name         text NOT NULL,
    version      text NOT NULL,
    dataset      text NOT NULL,                   -- digest as the manifest has it; empty: learnt from none
    started_from text NOT NULL,                   -- version whose adapter it goes on from; empty: the base
    run_id       text NOT NULL,
    reward       boolean NOT NULL,                -- a reward model learnt from the preferences and steered the training
    serve_days   double precision,                -- its recipe's privacy.erased_serve_days
    PRIMARY KEY (name, version)
);

-- Who was erased, as a keyed hash: nobody without the key can tell whether a person is in it. No user id and no text.
CREATE TABLE IF NOT EXISTS erasures (
    erasure_id text PRIMARY KEY,
    subject    text        NOT NULL,              -- HMAC-SHA-256 of the user id
    key_check  text        NOT NULL,              -- of the key alone: another key is found out
    by         text        NOT NULL,
    started_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    until      timestamptz NOT NULL,              -- what the person said up to then never comes back
    ended_at   timestamptz,
    steps      text[]      NOT NULL DEFAULT '{}', -- that are done
    report     jsonb       NOT NULL DEFAULT '{}'  -- counts by place, data sets, versions
);
CREATE INDEX IF NOT EXISTS erasures_subject ON erasures (subject);
CREATE TABLE IF NOT EXISTS erased_ids (           -- of interactions and events, the first 64 bits of their keyed hashes
    keyed      bigint PRIMARY KEY,
    erasure_id text   NOT NULL REFERENCES erasures (erasure_id) ON DELETE CASCADE
);
-- Models that are to be trained from the base again; a full turn that begins after `asked_at` and succeeds is the answer.
CREATE TABLE IF NOT EXISTS retrains (
    name       text        NOT NULL,
    erasure_id text        NOT NULL REFERENCES erasures (erasure_id) ON DELETE CASCADE,
    asked_at   timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (name, erasure_id)
);


-- The arm of a user, for analysis: flytewheel/experiment/assign.py in SQL. HMAC-SHA256 (RFC 2104) of sha256() alone.
CREATE OR REPLACE FUNCTION hmac_block(key bytea, pad integer) RETURNS bytea LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT string_agg(set_byte('\x00'::bytea, 0, get_byte(block.bytes, place) # pad), ''::bytea ORDER BY place)
    FROM generate_series(0, 63) AS place, (SELECT CASE WHEN length(key) > 64 THEN sha256(key) ELSE key END
        || decode(repeat('00', 64), 'hex') AS bytes) AS block
$$;
-- In [0, 1): treatment where draw_unit(…) < share. STABLE as convert_to is, so that it is inlined and the blocks are made once.
CREATE OR REPLACE FUNCTION draw_unit(key bytea, experiment_id text, user_id text) RETURNS double precision
    LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT (('x' || encode(substring(sha256(hmac_block(key, 92) || sha256(hmac_block(key, 54)
        || convert_to(experiment_id, 'UTF8') || '\x00'::bytea || convert_to(user_id, 'UTF8'))) FROM 1 FOR 7), 'hex'))
        ::bit(56)::bigint >> 3) / 9007199254740992.0::float8
$$;

-- Who was given which arm by an allocation that learns (flytewheel/experiment/allocation): the first to write a user's row says it,
-- for every router. `place` is draw_unit(…) × 2⁵³: without the key nobody can tell whose it is.
CREATE TABLE IF NOT EXISTS given_arms (
    experiment_id text        NOT NULL REFERENCES experiments (experiment_id) ON DELETE CASCADE,
    place         bigint      NOT NULL,
    arm           text        NOT NULL,
    propensity    double precision NOT NULL CHECK (propensity > 0 AND propensity <= 1),
    context       double precision[] NOT NULL DEFAULT '{}',  -- what a contextual policy saw
    given_at      timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (experiment_id, place)
);

-- Whether a user is in an experiment at all (flytewheel/experiment/layers.py), before draw_unit says which arm.
CREATE OR REPLACE FUNCTION meets_experiment(key bytea, layer jsonb, user_id text) RETURNS boolean
    LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT CASE WHEN user_id IS NULL THEN NULL ELSE
        NOT (coalesce((layer ->> 'holdout_share')::float8, 0) > 0
            AND draw_unit(key, 'holdout', user_id) < (layer ->> 'holdout_share')::float8)
        AND NOT coalesce(layer -> 'held_out' ? encode(sha256(convert_to(user_id, 'UTF8')), 'hex'), false)
        AND (coalesce(layer ->> 'group', '') = '' OR EXISTS (
            SELECT FROM jsonb_array_elements(layer -> 'slots') AS slot
            WHERE floor(draw_unit(key, 'group:' || (layer ->> 'group'), user_id) * 1000) >= (slot ->> 0)::int
                AND floor(draw_unit(key, 'group:' || (layer ->> 'group'), user_id) * 1000) < (slot ->> 1)::int))
    END
$$;

-- API keys of the router: hashes, never the keys. Whoever holds a copy of the table is told of every change.
CREATE TABLE IF NOT EXISTS api_keys (
    key_id     text PRIMARY KEY,
    account    text        NOT NULL,              -- the first key of its line; a rotated key stays the same caller
    hash       bytea       NOT NULL UNIQUE,       -- SHA-256 of the key
    scopes     text[]      NOT NULL,
    name       text        NOT NULL DEFAULT '',
    created_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz,
    revoked_at timestamptz,
    requests_per_minute      integer CHECK (requests_per_minute > 0),
    tokens_per_minute        integer CHECK (tokens_per_minute > 0),
    user_requests_per_minute integer CHECK (user_requests_per_minute > 0),
    user_tokens_per_minute   integer CHECK (user_tokens_per_minute > 0)
);
CREATE OR REPLACE FUNCTION tell_keys() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN NOTIFY flytewheel_keys; RETURN NULL; END $$;
CREATE OR REPLACE TRIGGER api_keys_tell AFTER INSERT OR UPDATE OR DELETE ON api_keys
    FOR EACH STATEMENT EXECUTE FUNCTION tell_keys();

-- What somebody asked the loop for. A look at the triggers launches it, under an execution's name made of the request, so that a
-- look which is cut off and comes again starts nothing twice; the turn that it becomes is noted when it opens.
CREATE TABLE IF NOT EXISTS turn_requests (
    request_id text PRIMARY KEY,                  -- of the asking: the same key asks once
    name       text        NOT NULL,              -- the model name
    mode       text        NOT NULL CHECK (mode IN ('full', 'incremental')),
    force      boolean     NOT NULL,              -- also where no trigger says that a turn is due
    reason     text        NOT NULL,
    asked_by   text        NOT NULL,
    asked_at   timestamptz NOT NULL DEFAULT clock_timestamp(),
    state      text        NOT NULL DEFAULT 'requested' CHECK (state IN ('requested', 'launched', 'refused')),
    outcome    text,                              -- why it waits or was refused, or the execution that was launched
    settled_at timestamptz,
    run_id     text                               -- the turn that it became; no reference: runs may go
);
CREATE INDEX IF NOT EXISTS turn_requests_name ON turn_requests (name, asked_at);

-- What the looks at the triggers found, only ever appended to.
CREATE TABLE IF NOT EXISTS trigger_looks (
    entry     bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name      text        NOT NULL,
    at        timestamptz NOT NULL DEFAULT clock_timestamp(),
    report    jsonb       NOT NULL,
    causes    text[]      NOT NULL,               -- volume | age | drift | first run | small turn | erasure | by hand
    execution text                                -- that it launched
);
CREATE INDEX IF NOT EXISTS trigger_looks_name ON trigger_looks (name, entry DESC);

-- The routers' machines, as they say themselves every few seconds: so many divide what an API key is allowed a minute.
CREATE TABLE IF NOT EXISTS router_replicas (
    replica_id text PRIMARY KEY,                  -- of a machine's table of allowances
    seen_at    timestamptz NOT NULL DEFAULT clock_timestamp()
);
-- What is measured of an experiment. A stratum is a time under the same shares: stages, and parts of one where a person moved it.
CREATE TABLE IF NOT EXISTS experiment_strata (
    experiment_id text        NOT NULL REFERENCES experiments (experiment_id) ON DELETE CASCADE,
    number        smallint    NOT NULL CHECK (number >= 0),
    stage         integer     NOT NULL,
    since         timestamptz NOT NULL DEFAULT clock_timestamp(),
    shares        jsonb       NOT NULL,           -- arm -> its share, null where it is drawn anew for every request
    PRIMARY KEY (experiment_id, number)
);
INSERT INTO experiment_strata (experiment_id, number, stage, since, shares)   -- of experiments from before
    SELECT experiment_id, 0, stage, stage_since, jsonb_build_object('control', 1 - share, 'treatment', share)
    FROM rollouts r JOIN experiments USING (experiment_id)
    WHERE NOT EXISTS (SELECT FROM experiment_strata s WHERE s.experiment_id = r.experiment_id);
CREATE TABLE IF NOT EXISTS metric_looks (
    counting      integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    experiment_id text    NOT NULL UNIQUE,        -- no reference: it would lock the experiment, and whoever aborts it waits
    source        text    NOT NULL,
    seen          pg_snapshot,                    -- of the last look: what it did not see is new; null: count from nothing
    looked_at     timestamptz,
    terms         jsonb   NOT NULL DEFAULT '{}',  -- what counters depend on beside the rows: others are counted from nothing
    thresholds    jsonb   NOT NULL DEFAULT '{}',  -- milliseconds beyond which an answer is slow
    frozen_at     timestamptz,                    -- when the thresholds became final
    most          integer NOT NULL DEFAULT 0      -- answers of one user, that no user has more of
);
-- Sums of a user: whole numbers, so that adding differences gives what counting anew would. Stratum -1 is the time before.
CREATE TABLE IF NOT EXISTS user_counts (
    counting     integer  NOT NULL,               -- no reference: a check for each of millions of rows
    stratum      smallint NOT NULL,
    arm          text     NOT NULL,
    user_id      text     NOT NULL,
    requests     integer  NOT NULL,
    failed       integer  NOT NULL,
    timed        integer  NOT NULL,
    slow         integer  NOT NULL,
    first_timed  integer  NOT NULL,
    first_slow   integer  NOT NULL,
    metered      integer  NOT NULL,
    votes        integer  NOT NULL,
    ups          integer  NOT NULL,
    downs        integer  NOT NULL,
    ratings      integer  NOT NULL,
    corrected    integer  NOT NULL,
    reformulated integer  NOT NULL,
    abandoned    integer  NOT NULL,
    copied       integer  NOT NULL,
    cited        integer  NOT NULL,
    commented    integer  NOT NULL,
    responded    integer  NOT NULL,
    rewarded     integer  NOT NULL,
    checked      integer  NOT NULL,
    grounded     integer  NOT NULL,
    spans        integer  NOT NULL,
    unsupported  integer  NOT NULL,
    tokens       bigint   NOT NULL,
    rating_sum   bigint   NOT NULL,               -- in millionths
    reward_sum   bigint   NOT NULL,               -- in billionths
    PRIMARY KEY (counting, stratum, arm, user_id)
) WITH (fillfactor = 80);                         -- a look changes counters in place, next to no index entry
-- Whose rows went or were changed: the next look counts these users anew.
CREATE TABLE IF NOT EXISTS recounts (
    source  text NOT NULL,
    user_id text NOT NULL,
    xid     xid8 NOT NULL DEFAULT pg_current_xact_id()
);
CREATE INDEX IF NOT EXISTS recounts_source ON recounts (source, xid);
CREATE OR REPLACE FUNCTION mark_interactions() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    INSERT INTO recounts (source, user_id) SELECT DISTINCT source, user_id FROM gone
        WHERE source IN (SELECT name FROM experiments WHERE state <> 'draft');
    RETURN NULL;
END $$;
CREATE OR REPLACE FUNCTION mark_answers() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    INSERT INTO recounts (source, user_id) SELECT DISTINCT i.source, i.user_id FROM gone JOIN interactions i USING (interaction_id)
        WHERE i.source IN (SELECT name FROM experiments WHERE state <> 'draft');
    RETURN NULL;
END $$;
CREATE OR REPLACE FUNCTION forget_looks() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN UPDATE metric_looks SET seen = NULL; RETURN NULL; END $$;
CREATE OR REPLACE TRIGGER interactions_gone AFTER DELETE ON interactions
    REFERENCING OLD TABLE AS gone FOR EACH STATEMENT EXECUTE FUNCTION mark_interactions();
CREATE OR REPLACE TRIGGER interactions_were AFTER UPDATE ON interactions
    REFERENCING OLD TABLE AS gone FOR EACH STATEMENT EXECUTE FUNCTION mark_interactions();
CREATE OR REPLACE TRIGGER interactions_are AFTER UPDATE ON interactions
    REFERENCING NEW TABLE AS gone FOR EACH STATEMENT EXECUTE FUNCTION mark_interactions();
CREATE OR REPLACE TRIGGER interactions_emptied AFTER TRUNCATE ON interactions EXECUTE FUNCTION forget_looks();
CREATE OR REPLACE TRIGGER feedback_events_gone AFTER DELETE ON feedback_events
    REFERENCING OLD TABLE AS gone FOR EACH STATEMENT EXECUTE FUNCTION mark_answers();
CREATE OR REPLACE TRIGGER feedback_events_were AFTER UPDATE ON feedback_events
    REFERENCING OLD TABLE AS gone FOR EACH STATEMENT EXECUTE FUNCTION mark_answers();
CREATE OR REPLACE TRIGGER feedback_events_are AFTER UPDATE ON feedback_events
    REFERENCING NEW TABLE AS gone FOR EACH STATEMENT EXECUTE FUNCTION mark_answers();
CREATE OR REPLACE TRIGGER feedback_events_emptied AFTER TRUNCATE ON feedback_events EXECUTE FUNCTION forget_looks();
CREATE OR REPLACE TRIGGER groundedness_gone AFTER DELETE ON groundedness
    REFERENCING OLD TABLE AS gone FOR EACH STATEMENT EXECUTE FUNCTION mark_answers();
CREATE OR REPLACE TRIGGER groundedness_were AFTER UPDATE ON groundedness
    REFERENCING OLD TABLE AS gone FOR EACH STATEMENT EXECUTE FUNCTION mark_answers();
