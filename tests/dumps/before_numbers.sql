SET statement_timeout = 0;
SET lock_timeout = 0;
SET idle_in_transaction_session_timeout = 0;
SET transaction_timeout = 0;
SET client_encoding = 'UTF8';
SET standard_conforming_strings = on;
SELECT pg_catalog.set_config('search_path', '', false);
SET check_function_bodies = false;
SET xmloption = content;
SET client_min_messages = warning;
SET row_security = off;
CREATE FUNCTION public.announce_experiment() RETURNS trigger
    LANGUAGE plpgsql
    AS $$ BEGIN PERFORM pg_notify('flytewheel_changes', 'experiment ' || coalesce(NEW.name, OLD.name)); RETURN NULL; END $$;
CREATE FUNCTION public.check_events() RETURNS trigger
    LANGUAGE plpgsql
    SET enable_seqscan TO 'off'
    SET enable_hashjoin TO 'off'
    SET enable_mergejoin TO 'off'
    AS $$ DECLARE missing text; BEGIN
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
CREATE FUNCTION public.draw_unit(key bytea, experiment_id text, user_id text) RETURNS double precision
    LANGUAGE sql STABLE PARALLEL SAFE
    AS $$
    SELECT (('x' || encode(substring(sha256(hmac_block(key, 92) || sha256(hmac_block(key, 54)
        || convert_to(experiment_id, 'UTF8') || '\x00'::bytea || convert_to(user_id, 'UTF8'))) FROM 1 FOR 7), 'hex'))
        ::bit(56)::bigint >> 3) / 9007199254740992.0::float8
$$;
CREATE FUNCTION public.forget_looks() RETURNS trigger
    LANGUAGE plpgsql
    AS $$ BEGIN UPDATE metric_looks SET seen = NULL; RETURN NULL; END $$;
CREATE FUNCTION public.hmac_block(key bytea, pad integer) RETURNS bytea
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    AS $$
    SELECT string_agg(set_byte('\x00'::bytea, 0, get_byte(block.bytes, place) # pad), ''::bytea ORDER BY place)
    FROM generate_series(0, 63) AS place, (SELECT CASE WHEN length(key) > 64 THEN sha256(key) ELSE key END
        || decode(repeat('00', 64), 'hex') AS bytes) AS block
$$;
CREATE FUNCTION public.keep_events_company() RETURNS trigger
    LANGUAGE plpgsql
    AS $$ DECLARE found boolean; BEGIN
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
CREATE FUNCTION public.mark_answers() RETURNS trigger
    LANGUAGE plpgsql
    AS $$ BEGIN
    INSERT INTO recounts (source, user_id) SELECT DISTINCT i.source, i.user_id FROM gone JOIN interactions i USING (interaction_id)
        WHERE i.source IN (SELECT name FROM experiments WHERE state <> 'draft');
    RETURN NULL;
END $$;
CREATE FUNCTION public.mark_interactions() RETURNS trigger
    LANGUAGE plpgsql
    AS $$ BEGIN
    INSERT INTO recounts (source, user_id) SELECT DISTINCT source, user_id FROM gone
        WHERE source IN (SELECT name FROM experiments WHERE state <> 'draft');
    RETURN NULL;
END $$;
CREATE FUNCTION public.meets_experiment(key bytea, layer jsonb, user_id text) RETURNS boolean
    LANGUAGE sql STABLE PARALLEL SAFE
    AS $$
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
CREATE FUNCTION public.refuse_change() RETURNS trigger
    LANGUAGE plpgsql
    AS $$ BEGIN RAISE EXCEPTION '% is only ever appended to', TG_TABLE_NAME; END $$;
CREATE FUNCTION public.take_events_along() RETURNS trigger
    LANGUAGE plpgsql
    SET enable_seqscan TO 'off'
    SET enable_hashjoin TO 'off'
    SET enable_mergejoin TO 'off'
    AS $$ BEGIN
    IF NOT EXISTS (SELECT FROM gone) THEN RETURN NULL; END IF;
    IF current_setting('transaction_isolation') <> 'read committed' THEN
        RAISE EXCEPTION 'interactions are deleted in read committed transactions only';
    END IF;
    PERFORM pg_advisory_xact_lock(1702258030);
    DELETE FROM feedback_events e USING gone g WHERE e.interaction_id = g.interaction_id;
    RETURN NULL;
END $$;
CREATE FUNCTION public.tell_keys() RETURNS trigger
    LANGUAGE plpgsql
    AS $$ BEGIN NOTIFY flytewheel_keys; RETURN NULL; END $$;
SET default_tablespace = '';
SET default_table_access_method = heap;
CREATE TABLE public.api_keys (
    key_id text NOT NULL,
    account text NOT NULL,
    hash bytea NOT NULL,
    scopes text[] NOT NULL,
    name text DEFAULT ''::text NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    expires_at timestamp with time zone,
    revoked_at timestamp with time zone,
    requests_per_minute integer,
    tokens_per_minute integer,
    user_requests_per_minute integer,
    user_tokens_per_minute integer,
    CONSTRAINT api_keys_requests_per_minute_check CHECK ((requests_per_minute > 0)),
    CONSTRAINT api_keys_tokens_per_minute_check CHECK ((tokens_per_minute > 0)),
    CONSTRAINT api_keys_user_requests_per_minute_check CHECK ((user_requests_per_minute > 0)),
    CONSTRAINT api_keys_user_tokens_per_minute_check CHECK ((user_tokens_per_minute > 0))
);
CREATE TABLE public.dataset_rows (
    dataset text NOT NULL,
    kind text NOT NULL,
    part text NOT NULL,
    row_id text NOT NULL,
    user_id text NOT NULL,
    source text NOT NULL,
    interactions text[] NOT NULL,
    events text[] NOT NULL
);
CREATE TABLE public.erased_ids (
    keyed bigint NOT NULL,
    erasure_id text NOT NULL
);
CREATE TABLE public.erasures (
    erasure_id text NOT NULL,
    subject text NOT NULL,
    key_check text NOT NULL,
    by text NOT NULL,
    started_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    until timestamp with time zone NOT NULL,
    ended_at timestamp with time zone,
    steps text[] DEFAULT '{}'::text[] NOT NULL,
    report jsonb DEFAULT '{}'::jsonb NOT NULL
);
CREATE TABLE public.experiment_strata (
    experiment_id text NOT NULL,
    number smallint NOT NULL,
    stage integer NOT NULL,
    since timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    shares jsonb NOT NULL,
    CONSTRAINT experiment_strata_number_check CHECK ((number >= 0))
);
CREATE TABLE public.experiments (
    experiment_id text NOT NULL,
    name text NOT NULL,
    state text NOT NULL,
    control text NOT NULL,
    treatment text NOT NULL,
    share double precision NOT NULL,
    body jsonb NOT NULL,
    launch_key text NOT NULL,
    reason text,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    stopped_at timestamp with time zone,
    layer jsonb DEFAULT '{}'::jsonb NOT NULL,
    CONSTRAINT experiments_share_check CHECK (((share >= (0)::double precision) AND (share <= (1)::double precision))),
    CONSTRAINT experiments_state_check CHECK ((state = ANY (ARRAY['draft'::text, 'running'::text, 'stopped'::text])))
);
CREATE TABLE public.expiries (
    entry bigint NOT NULL,
    by text NOT NULL,
    days double precision NOT NULL,
    cutoff timestamp with time zone NOT NULL,
    interactions bigint NOT NULL,
    events bigint NOT NULL,
    quarantined bigint NOT NULL,
    windows bigint NOT NULL,
    held jsonb NOT NULL,
    at timestamp with time zone DEFAULT clock_timestamp() NOT NULL
);
ALTER TABLE public.expiries ALTER COLUMN entry ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME public.expiries_entry_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);
CREATE TABLE public.feedback_events (
    event_id text NOT NULL,
    interaction_id text NOT NULL,
    source text NOT NULL,
    user_id text NOT NULL,
    feedback_type text NOT NULL,
    "timestamp" timestamp with time zone NOT NULL,
    body jsonb NOT NULL,
    digest text NOT NULL,
    metadata jsonb DEFAULT '{}'::jsonb NOT NULL,
    xid xid8 DEFAULT pg_current_xact_id() NOT NULL,
    stored_at timestamp with time zone DEFAULT now() NOT NULL
);
CREATE TABLE public.gate_overrides (
    entry bigint NOT NULL,
    run_id text NOT NULL,
    candidate text NOT NULL,
    verdict text NOT NULL,
    decision text NOT NULL,
    by text NOT NULL,
    reason text NOT NULL,
    at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    CONSTRAINT gate_overrides_by_check CHECK ((by <> ''::text)),
    CONSTRAINT gate_overrides_decision_check CHECK ((decision = ANY (ARRAY['promote_to_canary'::text, 'hold'::text, 'reject'::text]))),
    CONSTRAINT gate_overrides_reason_check CHECK ((reason <> ''::text))
);
ALTER TABLE public.gate_overrides ALTER COLUMN entry ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME public.gate_overrides_entry_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);
CREATE TABLE public.given_arms (
    experiment_id text NOT NULL,
    place bigint NOT NULL,
    arm text NOT NULL,
    propensity double precision NOT NULL,
    context double precision[] DEFAULT '{}'::double precision[] NOT NULL,
    given_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT given_arms_propensity_check CHECK (((propensity > (0)::double precision) AND (propensity <= (1)::double precision)))
);
CREATE TABLE public.groundedness (
    interaction_id text NOT NULL,
    spans integer NOT NULL,
    unsupported integer NOT NULL,
    kinds jsonb NOT NULL,
    checked_at timestamp with time zone DEFAULT now() NOT NULL,
    xid xid8 DEFAULT pg_current_xact_id() NOT NULL
);
CREATE TABLE public.held_votes (
    series text NOT NULL,
    event_id text NOT NULL,
    number integer NOT NULL,
    reason text NOT NULL,
    rule text NOT NULL,
    xid xid8 DEFAULT pg_current_xact_id() NOT NULL,
    held_at timestamp with time zone DEFAULT now() NOT NULL
);
CREATE TABLE public.holdout (
    one boolean DEFAULT true NOT NULL,
    share double precision NOT NULL,
    CONSTRAINT holdout_one_check CHECK (one),
    CONSTRAINT holdout_share_check CHECK (((share >= (0)::double precision) AND (share < (1)::double precision)))
);
CREATE TABLE public.holdout_users (
    user_digest text NOT NULL
);
CREATE TABLE public.imports (
    xid xid8 DEFAULT pg_current_xact_id() NOT NULL,
    kind text NOT NULL,
    source text NOT NULL,
    lines_read bigint NOT NULL,
    stored bigint NOT NULL,
    duplicates bigint NOT NULL,
    quarantined jsonb NOT NULL,
    imported_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT imports_kind_check CHECK ((kind = ANY (ARRAY['interaction'::text, 'feedback'::text])))
);
CREATE TABLE public.indexed_datasets (
    dataset text NOT NULL,
    rows bigint NOT NULL,
    indexed_at timestamp with time zone DEFAULT now() NOT NULL
);
CREATE TABLE public.indexed_versions (
    name text NOT NULL,
    version text NOT NULL,
    dataset text NOT NULL,
    started_from text NOT NULL,
    run_id text NOT NULL,
    reward boolean NOT NULL,
    serve_days double precision
);
CREATE TABLE public.interactions (
    interaction_id text NOT NULL,
    source text NOT NULL,
    user_id text NOT NULL,
    "timestamp" timestamp with time zone NOT NULL,
    body jsonb NOT NULL,
    digest text NOT NULL,
    xid xid8 DEFAULT pg_current_xact_id() NOT NULL,
    stored_at timestamp with time zone DEFAULT now() NOT NULL
);
CREATE TABLE public.metric_looks (
    counting integer NOT NULL,
    experiment_id text NOT NULL,
    source text NOT NULL,
    seen pg_snapshot,
    looked_at timestamp with time zone,
    terms jsonb DEFAULT '{}'::jsonb NOT NULL,
    thresholds jsonb DEFAULT '{}'::jsonb NOT NULL,
    frozen_at timestamp with time zone,
    most integer DEFAULT 0 NOT NULL
);
ALTER TABLE public.metric_looks ALTER COLUMN counting ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME public.metric_looks_counting_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);
CREATE TABLE public.outbox (
    entry bigint NOT NULL,
    topic text NOT NULL,
    body jsonb NOT NULL,
    at timestamp with time zone DEFAULT now() NOT NULL,
    sent_at timestamp with time zone
);
ALTER TABLE public.outbox ALTER COLUMN entry ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME public.outbox_entry_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);
CREATE TABLE public.quarantine (
    digest text NOT NULL,
    kind text NOT NULL,
    source text NOT NULL,
    reason text NOT NULL,
    line text NOT NULL,
    stored_at timestamp with time zone DEFAULT now() NOT NULL
);
CREATE TABLE public.recounts (
    source text NOT NULL,
    user_id text NOT NULL,
    xid xid8 DEFAULT pg_current_xact_id() NOT NULL
);
CREATE TABLE public.released_votes (
    series text NOT NULL,
    event_id text NOT NULL,
    xid xid8 DEFAULT pg_current_xact_id() NOT NULL,
    released_at timestamp with time zone DEFAULT now() NOT NULL
);
CREATE TABLE public.retrains (
    name text NOT NULL,
    erasure_id text NOT NULL,
    asked_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL
);
CREATE TABLE public.review_deals (
    review_id text NOT NULL,
    reviewer text NOT NULL,
    duel_id text NOT NULL,
    place integer NOT NULL,
    dealt_at timestamp with time zone DEFAULT now() NOT NULL
);
CREATE TABLE public.review_duels (
    review_id text NOT NULL,
    duel_id text NOT NULL,
    user_id text NOT NULL,
    topic text NOT NULL,
    prompt jsonb NOT NULL,
    ours text NOT NULL,
    theirs text NOT NULL,
    shared boolean NOT NULL
);
CREATE TABLE public.review_labels (
    entry bigint NOT NULL,
    review_id text NOT NULL,
    reviewer text NOT NULL,
    duel_id text NOT NULL,
    said text NOT NULL,
    comment text DEFAULT ''::text NOT NULL,
    at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT review_labels_said_check CHECK ((said = ANY (ARRAY['ours'::text, 'theirs'::text, 'tie'::text, 'skipped'::text, 'withdrawn'::text])))
);
ALTER TABLE public.review_labels ALTER COLUMN entry ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME public.review_labels_entry_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);
CREATE TABLE public.reviews (
    review_id text NOT NULL,
    run_id text NOT NULL,
    name text NOT NULL,
    system text,
    shared double precision NOT NULL,
    salt text NOT NULL,
    opened_at timestamp with time zone DEFAULT now() NOT NULL,
    closed_at timestamp with time zone,
    stored jsonb,
    CONSTRAINT reviews_shared_check CHECK (((shared >= (0)::double precision) AND (shared <= (1)::double precision)))
);
CREATE TABLE public.rollout_log (
    entry bigint NOT NULL,
    rollout_id text NOT NULL,
    fence bigint NOT NULL,
    actor text NOT NULL,
    action text NOT NULL,
    detail jsonb DEFAULT '{}'::jsonb NOT NULL,
    at timestamp with time zone DEFAULT now() NOT NULL
);
ALTER TABLE public.rollout_log ALTER COLUMN entry ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME public.rollout_log_entry_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);
CREATE TABLE public.rollouts (
    rollout_id text NOT NULL,
    name text NOT NULL,
    experiment_id text NOT NULL,
    state text NOT NULL,
    stage integer NOT NULL,
    fence bigint DEFAULT 0 NOT NULL,
    stage_since timestamp with time zone DEFAULT now() NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT rollouts_state_check CHECK ((state = ANY (ARRAY['active'::text, 'paused'::text, 'promoted'::text, 'rolled_back'::text])))
);
CREATE TABLE public.router_replicas (
    replica_id text NOT NULL,
    seen_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL
);
CREATE TABLE public.run_stations (
    run_id text NOT NULL,
    station text NOT NULL,
    status text NOT NULL,
    report jsonb DEFAULT '{}'::jsonb NOT NULL,
    started_at timestamp with time zone DEFAULT now() NOT NULL,
    ended_at timestamp with time zone,
    CONSTRAINT run_stations_status_check CHECK ((status = ANY (ARRAY['running'::text, 'succeeded'::text, 'failed'::text, 'skipped'::text])))
);
CREATE TABLE public.runs (
    run_id text NOT NULL,
    name text NOT NULL,
    recipe_digest text NOT NULL,
    recipe jsonb NOT NULL,
    "window" jsonb NOT NULL,
    execution text,
    status text NOT NULL,
    station text,
    error text,
    started_at timestamp with time zone DEFAULT now() NOT NULL,
    ended_at timestamp with time zone,
    CONSTRAINT runs_status_check CHECK ((status = ANY (ARRAY['running'::text, 'succeeded'::text, 'failed'::text])))
);
CREATE TABLE public.suite_cases (
    name text NOT NULL,
    case_id text NOT NULL,
    body jsonb NOT NULL,
    origin text NOT NULL,
    run_id text DEFAULT ''::text NOT NULL,
    interaction_id text,
    event_id text,
    added_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    retired_at timestamp with time zone,
    retired_by text,
    retired_reason text
);
CREATE TABLE public.suite_mutes (
    entry bigint NOT NULL,
    name text NOT NULL,
    case_id text NOT NULL,
    reason text NOT NULL,
    muted_by text NOT NULL,
    muted_at timestamp with time zone NOT NULL,
    until timestamp with time zone NOT NULL,
    lifted_at timestamp with time zone,
    lifted_by text,
    CONSTRAINT suite_mutes_check CHECK ((until > muted_at))
);
ALTER TABLE public.suite_mutes ALTER COLUMN entry ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME public.suite_mutes_entry_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);
CREATE TABLE public.suite_outcomes (
    name text NOT NULL,
    case_id text NOT NULL,
    model text NOT NULL,
    outcome text NOT NULL,
    passed integer NOT NULL,
    samples integer NOT NULL,
    origin text NOT NULL,
    "check" text NOT NULL,
    at timestamp with time zone DEFAULT clock_timestamp() NOT NULL
);
CREATE TABLE public.suite_rollbacks (
    experiment_id text NOT NULL,
    report jsonb NOT NULL,
    at timestamp with time zone DEFAULT clock_timestamp() NOT NULL
);
CREATE TABLE public.trigger_looks (
    entry bigint NOT NULL,
    name text NOT NULL,
    at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    report jsonb NOT NULL,
    causes text[] NOT NULL,
    execution text
);
ALTER TABLE public.trigger_looks ALTER COLUMN entry ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME public.trigger_looks_entry_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);
CREATE TABLE public.turn_requests (
    request_id text NOT NULL,
    name text NOT NULL,
    mode text NOT NULL,
    force boolean NOT NULL,
    reason text NOT NULL,
    asked_by text NOT NULL,
    asked_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    state text DEFAULT 'requested'::text NOT NULL,
    outcome text,
    settled_at timestamp with time zone,
    run_id text,
    CONSTRAINT turn_requests_mode_check CHECK ((mode = ANY (ARRAY['full'::text, 'incremental'::text]))),
    CONSTRAINT turn_requests_state_check CHECK ((state = ANY (ARRAY['requested'::text, 'launched'::text, 'refused'::text])))
);
CREATE TABLE public.user_counts (
    counting integer NOT NULL,
    stratum smallint NOT NULL,
    arm text NOT NULL,
    user_id text NOT NULL,
    requests integer NOT NULL,
    failed integer NOT NULL,
    timed integer NOT NULL,
    slow integer NOT NULL,
    first_timed integer NOT NULL,
    first_slow integer NOT NULL,
    metered integer NOT NULL,
    votes integer NOT NULL,
    ups integer NOT NULL,
    downs integer NOT NULL,
    ratings integer NOT NULL,
    corrected integer NOT NULL,
    reformulated integer NOT NULL,
    abandoned integer NOT NULL,
    copied integer NOT NULL,
    cited integer NOT NULL,
    commented integer NOT NULL,
    responded integer NOT NULL,
    rewarded integer NOT NULL,
    checked integer NOT NULL,
    grounded integer NOT NULL,
    spans integer NOT NULL,
    unsupported integer NOT NULL,
    tokens bigint NOT NULL,
    rating_sum bigint NOT NULL,
    reward_sum bigint NOT NULL
)
WITH (fillfactor='80');
CREATE TABLE public.windows (
    series text NOT NULL,
    number integer NOT NULL,
    sources text[] NOT NULL,
    low_xid xid8 NOT NULL,
    high_xid xid8 NOT NULL,
    interactions bigint NOT NULL,
    events bigint NOT NULL,
    releases bigint NOT NULL,
    revisited bigint NOT NULL,
    earlier_events bigint NOT NULL,
    digest text NOT NULL,
    closed_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    CONSTRAINT windows_check CHECK ((high_xid >= low_xid)),
    CONSTRAINT windows_number_check CHECK ((number > 0))
);
INSERT INTO public.api_keys VALUES ('0 a	b\N \. ''q'' "d" ,;
— ünï 漢字 🙂 %s', '0 a	b\N \. ''q'' "d" ,;
— ünï 漢字 🙂 %s', '\x00005cff', '{"0 a	b\\N \\. ''q'' \"d\" ,;
— ünï 漢字 🙂 %s","0 a	b\\N \\. ''q'' \"d\" ,;
— ünï 漢字 🙂 %s"}', '0 a	b\N \. ''q'' "d" ,;
— ünï 漢字 🙂 %s', '2026-01-06 00:30:00.123456+00', '2026-01-07 00:30:00.123456+00', '2026-01-08 00:30:00.123456+00', 1, 1, 1, 1);
INSERT INTO public.api_keys VALUES ('1 a	b\N \. ''q'' "d" ,;
— ünï 漢字 🙂 %s', '1 a	b\N \. ''q'' "d" ,;
— ünï 漢字 🙂 %s', '\x01005cff', '{"1 a	b\\N \\. ''q'' \"d\" ,;
— ünï 漢字 🙂 %s","1 a	b\\N \\. ''q'' \"d\" ,;
— ünï 漢字 🙂 %s"}', '1 a	b\N \. ''q'' "d" ,;
— ünï 漢字 🙂 %s', '2026-02-06 00:30:00.123456+00', NULL, NULL, NULL, NULL, NULL, NULL);
INSERT INTO public.dataset_rows VALUES ('0 a	b\N \. ''q'' "d" ,;
— ünï 漢字 🙂 %s', '0 a	b\N \. ''q'' "d" ,;
— ünï 漢字 🙂 %s', '0 a	b\N \. ''q'' "d" ,;
— ünï 漢字 🙂 %s', '0 a	b\N \. ''q'' "d" ,;
— ünï 漢字 🙂 %s', '0 a	b\N \. ''q'' "d" ,;
— ünï 漢字 🙂 %s', '0 a	b\N \. ''q'' "d" ,;
— ünï 漢字 🙂 %s', '{"0 a	b\\N \\. ''q'' \"d\" ,;
— ünï 漢字 🙂 %s","0 a	b\\N \\. ''q'' \"d\" ,;
— ünï 漢字 🙂 %s"}', '{"0 a	b\\N \\. ''q'' \"d\" ,;
— ünï 漢字 🙂 %s","0 a	b\\N \\. ''q'' \"d\" ,;
— ünï 漢字 🙂 %s"}');
INSERT INTO public.dataset_rows VALUES ('1 a	b\N \. ''q'' "d" ,;
— ünï 漢字 🙂 %s', '1 a	b\N \. ''q'' "d" ,;
— ünï 漢字 🙂 %s', '1 a	b\N \. ''q'' "d" ,;
— ünï 漢字 🙂 %s', '1 a	b\N \. ''q'' "d" ,;
— ünï 漢字 🙂 %s', '1 a	b\N \. ''q'' "d" ,;
— ünï 漢字 🙂 %s', '1 a	b\N \. ''q'' "d" ,;
— ünï 漢字 🙂 %s', '{"1 a	b\\N \\. ''q'' \"d\" ,;
— ünï 漢字 🙂 %s","1 a	b\\N \\. ''q'' \"d\" ,;
— ünï 漢字 🙂 %s"}', '{"1 a	b\\N \\. ''q'' \"d\" ,;
— ünï 漢字 🙂 %s","1 a	b\\N \\. ''q'' \"d\" ,;
— ünï 漢字 🙂 %s"}');
INSERT INTO public.erased_ids VALUES (1, '0 a	b\N \. ''q'' "d" ,;
— ünï 漢字 🙂 %s');
INSERT INTO public.erased_ids VALUES (2, '1 a	b\N \. ''q'' "d" ,;
— ünï 漢字 🙂 %s');
INSERT INTO public.erasures VALUES ('0 a	b\N \. ''q'' "d" ,;
— ünï 漢字 🙂 %s', '0 a	b\N \. ''q'' "d" ,;
— ünï 漢字 🙂 %s', '0 a	b\N \. ''q'' "d" ,;
— ünï 漢字 🙂 %s', '0 a	b\N \. ''q'' "d" ,;
— ünï 漢字 🙂 %s', '2026-01-05 00:30:00.123456+00', '2026-01-06 00:30:00.123456+00', '2026-01-07 00:30:00.123456+00', '{"0 a	b\\N \\. ''q'' \"d\" ,;
— ünï 漢字 🙂 %s","0 a	b\\N \\. ''q'' \"d\" ,;
— ünï 漢字 🙂 %s"}', '{"a": [1.50, null, "é\\n0"], "b": {"": true}}');
INSERT INTO public.erasures VALUES ('1 a	b\N \. ''q'' "d" ,;
— ünï 漢字 🙂 %s', '1 a	b\N \. ''q'' "d" ,;
— ünï 漢字 🙂 %s', '1 a	b\N \. ''q'' "d" ,;
— ünï 漢字 🙂 %s', '1 a	b\N \. ''q'' "d" ,;
— ünï 漢字 🙂 %s', '2026-02-05 00:30:00.123456+00', '2026-02-06 00:30:00.123456+00', NULL, '{"1 a	b\\N \\. ''q'' \"d\" ,;
— ünï 漢字 🙂 %s","1 a	b\\N \\. ''q'' \"d\" ,;
— ünï 漢字 🙂 %s"}', '{"a": [1.50, null, "é\\n1"], "b": {"": true}}');
INSERT INTO public.experiment_strata VALUES ('0 a	b\N \. ''q'' "d" ,;
— ünï 漢字 🙂 %s', 1, 1, '2026-01-04 00:30:00.123456+00', '{"a": [1.50, null, "é\\n0"], "b": {"": true}}');
INSERT INTO public.experiment_strata VALUES ('1 a	b\N \. ''q'' "d" ,;
— ünï 漢字 🙂 %s', 2, 2, '2026-02-04 00:30:00.123456+00', '{"a": [1.50, null, "é\\n1"], "b": {"": true}}');
INSERT INTO public.experiments VALUES ('0 a	b\N \. ''q'' "d" ,;
— ünï 漢字 🙂 %s', '0 a	b\N \. ''q'' "d" ,;
— ünï 漢字 🙂 %s', 'draft', '0 a	b\N \. ''q'' "d" ,;
— ünï 漢字 🙂 %s', '0 a	b\N \. ''q'' "d" ,;
— ünï 漢字 🙂 %s', 0.1, '{"a": [1.50, null, "é\\n0"], "b": {"": true}}', '0 a	b\N \. ''q'' "d" ,;
— ünï 漢字 🙂 %s', '0 a	b\N \. ''q'' "d" ,;
— ünï 漢字 🙂 %s', '2026-01-10 00:30:00.123456+00', '2026-01-11 00:30:00.123456+00', '{"a": [1.50, null, "é\\n0"], "b": {"": true}}');
INSERT INTO public.experiments VALUES ('1 a	b\N \. ''q'' "d" ,;
— ünï 漢字 🙂 %s', '1 a	b\N \. ''q'' "d" ,;
— ünï 漢字 🙂 %s', 'running', '1 a	b\N \. ''q'' "d" ,;
— ünï 漢字 🙂 %s', '1 a	b\N \. ''q'' "d" ,;
— ünï 漢字 🙂 %s', 0.3333333333333333, '{"a": [1.50, null, "é\\n1"], "b": {"": true}}', '1 a	b\N \. ''q'' "d" ,;
— ünï 漢字 🙂 %s', NULL, '2026-02-10 00:30:00.123456+00', NULL, '{"a": [1.50, null, "é\\n1"], "b": {"": true}}');
INSERT INTO public.expiries OVERRIDING SYSTEM VALUE VALUES (1, '0 a	b\N \. ''q'' "d" ,;
— ünï 漢字 🙂 %s', 0.1, '2026-01-04 00:30:00.123456+00', 1, 1, 1, 1, '{"a": [1.50, null, "é\\n0"], "b": {"": true}}', '2026-01-10 00:30:00.123456+00');
INSERT INTO public.expiries OVERRIDING SYSTEM VALUE VALUES (2, '1 a	b\N \. ''q'' "d" ,;
— ünï 漢字 🙂 %s', 0.3333333333333333, '2026-02-04 00:30:00.123456+00', 2, 2, 2, 2, '{"a": [1.50, null, "é\\n1"], "b": {"": true}}', '2026-02-10 00:30:00.123456+00');
INSERT INTO public.feedback_events VALUES ('0 a	b\N \. ''q'' "d" ,;
— ünï 漢字 🙂 %s', '0 a	b\N \. ''q'' "d" ,;
— ünï 漢字 🙂 %s', '0 a	b\N \. ''q'' "d" ,;
— ünï 漢字 🙂 %s', '0 a	b\N \. ''q'' "d" ,;
— ünï 漢字 🙂 %s', '0 a	b\N \. ''q'' "d" ,;
— ünï 漢字 🙂 %s', '2026-01-06 00:30:00.123456+00', '{"a": [1.50, null, "é\\n0"], "b": {"": true}}', '0 a	b\N \. ''q'' "d" ,;
— ünï 漢字 🙂 %s', '{"a": [1.50, null, "é\\n0"], "b": {"": true}}', '19', '2026-01-11 00:30:00.123456+00');
INSERT INTO public.feedback_events VALUES ('1 a	b\N \. ''q'' "d" ,;
— ünï 漢字 🙂 %s', '1 a	b\N \. ''q'' "d" ,;
— ünï 漢字 🙂 %s', '1 a	b\N \. ''q'' "d" ,;
— ünï 漢字 🙂 %s', '1 a	b\N \. ''q'' "d" ,;
— ünï 漢字 🙂 %s', '1 a	b\N \. ''q'' "d" ,;
— ünï 漢字 🙂 %s', '2026-02-06 00:30:00.123456+00', '{"a": [1.50, null, "é\\n1"], "b": {"": true}}', '1 a	b\N \. ''q'' "d" ,;
— ünï 漢字 🙂 %s', '{"a": [1.50, null, "é\\n1"], "b": {"": true}}', '119', '2026-02-11 00:30:00.123456+00');
INSERT INTO public.gate_overrides OVERRIDING SYSTEM VALUE VALUES (1, '0 a	b\N \. ''q'' "d" ,;
— ünï 漢字 🙂 %s', '0 a	b\N \. ''q'' "d" ,;
— ünï 漢字 🙂 %s', '0 a	b\N \. ''q'' "d" ,;
— ünï 漢字 🙂 %s', 'promote_to_canary', '0 a	b\N \. ''q'' "d" ,;
— ünï 漢字 🙂 %s', '0 a	b\N \. ''q'' "d" ,;
— ünï 漢字 🙂 %s', '2026-01-08 00:30:00.123456+00');
INSERT INTO public.gate_overrides OVERRIDING SYSTEM VALUE VALUES (2, '1 a	b\N \. ''q'' "d" ,;
— ünï 漢字 🙂 %s', '1 a	b\N \. ''q'' "d" ,;
— ünï 漢字 🙂 %s', '1 a	b\N \. ''q'' "d" ,;
— ünï 漢字 🙂 %s', 'hold', '1 a	b\N \. ''q'' "d" ,;
— ünï 漢字 🙂 %s', '1 a	b\N \. ''q'' "d" ,;
— ünï 漢字 🙂 %s', '2026-02-08 00:30:00.123456+00');
INSERT INTO public.given_arms VALUES ('0 a	b\N \. ''q'' "d" ,;
— ünï 漢字 🙂 %s', 1, '0 a	b\N \. ''q'' "d" ,;
— ünï 漢字 🙂 %s', 0.1, '{0.1,0.1}', '2026-01-06 00:30:00.123456+00');
INSERT INTO public.given_arms VALUES ('1 a	b\N \. ''q'' "d" ,;
— ünï 漢字 🙂 %s', 2, '1 a	b\N \. ''q'' "d" ,;
— ünï 漢字 🙂 %s', 0.3333333333333333, '{0.3333333333333333,0.3333333333333333}', '2026-02-06 00:30:00.123456+00');
INSERT INTO public.groundedness VALUES ('0 a	b\N \. ''q'' "d" ,;
— ünï 漢字 🙂 %s', 1, 1, '{"a": [1.50, null, "é\\n0"], "b": {"": true}}', '2026-01-05 00:30:00.123456+00', '15');
INSERT INTO public.groundedness VALUES ('1 a	b\N \. ''q'' "d" ,;
— ünï 漢字 🙂 %s', 2, 2, '{"a": [1.50, null, "é\\n1"], "b": {"": true}}', '2026-02-05 00:30:00.123456+00', '115');
INSERT INTO public.held_votes VALUES ('0 a	b\N \. ''q'' "d" ,;
— ünï 漢字 🙂 %s', '0 a	b\N \. ''q'' "d" ,;
— ünï 漢字 🙂 %s', 1, '0 a	b\N \. ''q'' "d" ,;
— ünï 漢字 🙂 %s', '0 a	b\N \. ''q'' "d" ,;
— ünï 漢字 🙂 %s', '15', '2026-01-07 00:30:00.123456+00');
INSERT INTO public.held_votes VALUES ('1 a	b\N \. ''q'' "d" ,;
— ünï 漢字 🙂 %s', '1 a	b\N \. ''q'' "d" ,;
— ünï 漢字 🙂 %s', 2, '1 a	b\N \. ''q'' "d" ,;
— ünï 漢字 🙂 %s', '1 a	b\N \. ''q'' "d" ,;
— ünï 漢字 🙂 %s', '115', '2026-02-07 00:30:00.123456+00');
INSERT INTO public.holdout VALUES (true, 0.1);
INSERT INTO public.holdout_users VALUES ('0 a	b\N \. ''q'' "d" ,;
— ünï 漢字 🙂 %s');
INSERT INTO public.holdout_users VALUES ('1 a	b\N \. ''q'' "d" ,;
— ünï 漢字 🙂 %s');
INSERT INTO public.imports VALUES ('10', 'interaction', '0 a	b\N \. ''q'' "d" ,;
— ünï 漢字 🙂 %s', 1, 1, 1, '{"a": [1.50, null, "é\\n0"], "b": {"": true}}', '2026-01-08 00:30:00.123456+00');
INSERT INTO public.imports VALUES ('110', 'feedback', '1 a	b\N \. ''q'' "d" ,;
— ünï 漢字 🙂 %s', 2, 2, 2, '{"a": [1.50, null, "é\\n1"], "b": {"": true}}', '2026-02-08 00:30:00.123456+00');
INSERT INTO public.indexed_datasets VALUES ('0 a	b\N \. ''q'' "d" ,;
— ünï 漢字 🙂 %s', 1, '2026-01-03 00:30:00.123456+00');
INSERT INTO public.indexed_datasets VALUES ('1 a	b\N \. ''q'' "d" ,;
— ünï 漢字 🙂 %s', 2, '2026-02-03 00:30:00.123456+00');
INSERT INTO public.indexed_versions VALUES ('0 a	b\N \. ''q'' "d" ,;
— ünï 漢字 🙂 %s', '0 a	b\N \. ''q'' "d" ,;
— ünï 漢字 🙂 %s', '0 a	b\N \. ''q'' "d" ,;
— ünï 漢字 🙂 %s', '0 a	b\N \. ''q'' "d" ,;
— ünï 漢字 🙂 %s', '0 a	b\N \. ''q'' "d" ,;
— ünï 漢字 🙂 %s', true, 0.1);
INSERT INTO public.indexed_versions VALUES ('1 a	b\N \. ''q'' "d" ,;
— ünï 漢字 🙂 %s', '1 a	b\N \. ''q'' "d" ,;
— ünï 漢字 🙂 %s', '1 a	b\N \. ''q'' "d" ,;
— ünï 漢字 🙂 %s', '1 a	b\N \. ''q'' "d" ,;
— ünï 漢字 🙂 %s', '1 a	b\N \. ''q'' "d" ,;
— ünï 漢字 🙂 %s', true, NULL);
INSERT INTO public.interactions VALUES ('0 a	b\N \. ''q'' "d" ,;
— ünï 漢字 🙂 %s', '0 a	b\N \. ''q'' "d" ,;
— ünï 漢字 🙂 %s', '0 a	b\N \. ''q'' "d" ,;
— ünï 漢字 🙂 %s', '2026-01-04 00:30:00.123456+00', '{"a": [1.50, null, "é\\n0"], "b": {"": true}}', '0 a	b\N \. ''q'' "d" ,;
— ünï 漢字 🙂 %s', '16', '2026-01-08 00:30:00.123456+00');
INSERT INTO public.interactions VALUES ('1 a	b\N \. ''q'' "d" ,;
— ünï 漢字 🙂 %s', '1 a	b\N \. ''q'' "d" ,;
— ünï 漢字 🙂 %s', '1 a	b\N \. ''q'' "d" ,;
— ünï 漢字 🙂 %s', '2026-02-04 00:30:00.123456+00', '{"a": [1.50, null, "é\\n1"], "b": {"": true}}', '1 a	b\N \. ''q'' "d" ,;
— ünï 漢字 🙂 %s', '116', '2026-02-08 00:30:00.123456+00');
INSERT INTO public.metric_looks OVERRIDING SYSTEM VALUE VALUES (1, '0 a	b\N \. ''q'' "d" ,;
— ünï 漢字 🙂 %s', '0 a	b\N \. ''q'' "d" ,;
— ünï 漢字 🙂 %s', '10:20:10,14', '2026-01-05 00:30:00.123456+00', '{"a": [1.50, null, "é\\n0"], "b": {"": true}}', '{"a": [1.50, null, "é\\n0"], "b": {"": true}}', '2026-01-08 00:30:00.123456+00', 1);
INSERT INTO public.metric_looks OVERRIDING SYSTEM VALUE VALUES (2, '1 a	b\N \. ''q'' "d" ,;
— ünï 漢字 🙂 %s', '1 a	b\N \. ''q'' "d" ,;
— ünï 漢字 🙂 %s', NULL, NULL, '{"a": [1.50, null, "é\\n1"], "b": {"": true}}', '{"a": [1.50, null, "é\\n1"], "b": {"": true}}', NULL, 2);
INSERT INTO public.outbox OVERRIDING SYSTEM VALUE VALUES (1, '0 a	b\N \. ''q'' "d" ,;
— ünï 漢字 🙂 %s', '{"a": [1.50, null, "é\\n0"], "b": {"": true}}', '2026-01-04 00:30:00.123456+00', '2026-01-05 00:30:00.123456+00');
INSERT INTO public.outbox OVERRIDING SYSTEM VALUE VALUES (2, '1 a	b\N \. ''q'' "d" ,;
— ünï 漢字 🙂 %s', '{"a": [1.50, null, "é\\n1"], "b": {"": true}}', '2026-02-04 00:30:00.123456+00', NULL);
INSERT INTO public.quarantine VALUES ('0 a	b\N \. ''q'' "d" ,;
— ünï 漢字 🙂 %s', '0 a	b\N \. ''q'' "d" ,;
— ünï 漢字 🙂 %s', '0 a	b\N \. ''q'' "d" ,;
— ünï 漢字 🙂 %s', '0 a	b\N \. ''q'' "d" ,;
— ünï 漢字 🙂 %s', '0 a	b\N \. ''q'' "d" ,;
— ünï 漢字 🙂 %s', '2026-01-06 00:30:00.123456+00');
INSERT INTO public.quarantine VALUES ('1 a	b\N \. ''q'' "d" ,;
— ünï 漢字 🙂 %s', '1 a	b\N \. ''q'' "d" ,;
— ünï 漢字 🙂 %s', '1 a	b\N \. ''q'' "d" ,;
— ünï 漢字 🙂 %s', '1 a	b\N \. ''q'' "d" ,;
— ünï 漢字 🙂 %s', '1 a	b\N \. ''q'' "d" ,;
— ünï 漢字 🙂 %s', '2026-02-06 00:30:00.123456+00');
INSERT INTO public.recounts VALUES ('0 a	b\N \. ''q'' "d" ,;
— ünï 漢字 🙂 %s', '0 a	b\N \. ''q'' "d" ,;
— ünï 漢字 🙂 %s', '12');
INSERT INTO public.recounts VALUES ('1 a	b\N \. ''q'' "d" ,;
— ünï 漢字 🙂 %s', '1 a	b\N \. ''q'' "d" ,;
— ünï 漢字 🙂 %s', '112');
INSERT INTO public.released_votes VALUES ('0 a	b\N \. ''q'' "d" ,;
— ünï 漢字 🙂 %s', '0 a	b\N \. ''q'' "d" ,;
— ünï 漢字 🙂 %s', '12', '2026-01-04 00:30:00.123456+00');
INSERT INTO public.released_votes VALUES ('1 a	b\N \. ''q'' "d" ,;
— ünï 漢字 🙂 %s', '1 a	b\N \. ''q'' "d" ,;
— ünï 漢字 🙂 %s', '112', '2026-02-04 00:30:00.123456+00');
INSERT INTO public.retrains VALUES ('0 a	b\N \. ''q'' "d" ,;
— ünï 漢字 🙂 %s', '0 a	b\N \. ''q'' "d" ,;
— ünï 漢字 🙂 %s', '2026-01-03 00:30:00.123456+00');
INSERT INTO public.retrains VALUES ('1 a	b\N \. ''q'' "d" ,;
— ünï 漢字 🙂 %s', '1 a	b\N \. ''q'' "d" ,;
— ünï 漢字 🙂 %s', '2026-02-03 00:30:00.123456+00');
INSERT INTO public.review_deals VALUES ('0 a	b\N \. ''q'' "d" ,;
— ünï 漢字 🙂 %s', '0 a	b\N \. ''q'' "d" ,;
— ünï 漢字 🙂 %s', '0 a	b\N \. ''q'' "d" ,;
— ünï 漢字 🙂 %s', 1, '2026-01-05 00:30:00.123456+00');
INSERT INTO public.review_deals VALUES ('1 a	b\N \. ''q'' "d" ,;
— ünï 漢字 🙂 %s', '1 a	b\N \. ''q'' "d" ,;
— ünï 漢字 🙂 %s', '1 a	b\N \. ''q'' "d" ,;
— ünï 漢字 🙂 %s', 2, '2026-02-05 00:30:00.123456+00');
INSERT INTO public.review_duels VALUES ('0 a	b\N \. ''q'' "d" ,;
— ünï 漢字 🙂 %s', '0 a	b\N \. ''q'' "d" ,;
— ünï 漢字 🙂 %s', '0 a	b\N \. ''q'' "d" ,;
— ünï 漢字 🙂 %s', '0 a	b\N \. ''q'' "d" ,;
— ünï 漢字 🙂 %s', '{"a": [1.50, null, "é\\n0"], "b": {"": true}}', '0 a	b\N \. ''q'' "d" ,;
— ünï 漢字 🙂 %s', '0 a	b\N \. ''q'' "d" ,;
— ünï 漢字 🙂 %s', true);
INSERT INTO public.review_duels VALUES ('1 a	b\N \. ''q'' "d" ,;
— ünï 漢字 🙂 %s', '1 a	b\N \. ''q'' "d" ,;
— ünï 漢字 🙂 %s', '1 a	b\N \. ''q'' "d" ,;
— ünï 漢字 🙂 %s', '1 a	b\N \. ''q'' "d" ,;
— ünï 漢字 🙂 %s', '{"a": [1.50, null, "é\\n1"], "b": {"": true}}', '1 a	b\N \. ''q'' "d" ,;
— ünï 漢字 🙂 %s', '1 a	b\N \. ''q'' "d" ,;
— ünï 漢字 🙂 %s', true);
INSERT INTO public.review_labels OVERRIDING SYSTEM VALUE VALUES (1, '0 a	b\N \. ''q'' "d" ,;
— ünï 漢字 🙂 %s', '0 a	b\N \. ''q'' "d" ,;
— ünï 漢字 🙂 %s', '0 a	b\N \. ''q'' "d" ,;
— ünï 漢字 🙂 %s', 'ours', '0 a	b\N \. ''q'' "d" ,;
— ünï 漢字 🙂 %s', '2026-01-07 00:30:00.123456+00');
INSERT INTO public.review_labels OVERRIDING SYSTEM VALUE VALUES (2, '1 a	b\N \. ''q'' "d" ,;
— ünï 漢字 🙂 %s', '1 a	b\N \. ''q'' "d" ,;
— ünï 漢字 🙂 %s', '1 a	b\N \. ''q'' "d" ,;
— ünï 漢字 🙂 %s', 'theirs', '1 a	b\N \. ''q'' "d" ,;
— ünï 漢字 🙂 %s', '2026-02-07 00:30:00.123456+00');
INSERT INTO public.reviews VALUES ('0 a	b\N \. ''q'' "d" ,;
— ünï 漢字 🙂 %s', '0 a	b\N \. ''q'' "d" ,;
— ünï 漢字 🙂 %s', '0 a	b\N \. ''q'' "d" ,;
— ünï 漢字 🙂 %s', '0 a	b\N \. ''q'' "d" ,;
— ünï 漢字 🙂 %s', 0.1, '0 a	b\N \. ''q'' "d" ,;
— ünï 漢字 🙂 %s', '2026-01-07 00:30:00.123456+00', '2026-01-08 00:30:00.123456+00', '{"a": [1.50, null, "é\\n0"], "b": {"": true}}');
INSERT INTO public.reviews VALUES ('1 a	b\N \. ''q'' "d" ,;
— ünï 漢字 🙂 %s', '1 a	b\N \. ''q'' "d" ,;
— ünï 漢字 🙂 %s', '1 a	b\N \. ''q'' "d" ,;
— ünï 漢字 🙂 %s', NULL, 0.3333333333333333, '1 a	b\N \. ''q'' "d" ,;
— ünï 漢字 🙂 %s', '2026-02-07 00:30:00.123456+00', NULL, NULL);
INSERT INTO public.rollout_log OVERRIDING SYSTEM VALUE VALUES (1, '0 a	b\N \. ''q'' "d" ,;
— ünï 漢字 🙂 %s', 1, '0 a	b\N \. ''q'' "d" ,;
— ünï 漢字 🙂 %s', '0 a	b\N \. ''q'' "d" ,;
— ünï 漢字 🙂 %s', '{"a": [1.50, null, "é\\n0"], "b": {"": true}}', '2026-01-07 00:30:00.123456+00');
INSERT INTO public.rollout_log OVERRIDING SYSTEM VALUE VALUES (2, '1 a	b\N \. ''q'' "d" ,;
— ünï 漢字 🙂 %s', 2, '1 a	b\N \. ''q'' "d" ,;
— ünï 漢字 🙂 %s', '1 a	b\N \. ''q'' "d" ,;
— ünï 漢字 🙂 %s', '{"a": [1.50, null, "é\\n1"], "b": {"": true}}', '2026-02-07 00:30:00.123456+00');
INSERT INTO public.rollouts VALUES ('0 a	b\N \. ''q'' "d" ,;
— ünï 漢字 🙂 %s', '0 a	b\N \. ''q'' "d" ,;
— ünï 漢字 🙂 %s', '0 a	b\N \. ''q'' "d" ,;
— ünï 漢字 🙂 %s', 'active', 1, 1, '2026-01-07 00:30:00.123456+00', '2026-01-08 00:30:00.123456+00');
INSERT INTO public.rollouts VALUES ('1 a	b\N \. ''q'' "d" ,;
— ünï 漢字 🙂 %s', '1 a	b\N \. ''q'' "d" ,;
— ünï 漢字 🙂 %s', '1 a	b\N \. ''q'' "d" ,;
— ünï 漢字 🙂 %s', 'paused', 2, 2, '2026-02-07 00:30:00.123456+00', '2026-02-08 00:30:00.123456+00');
INSERT INTO public.router_replicas VALUES ('0 a	b\N \. ''q'' "d" ,;
— ünï 漢字 🙂 %s', '2026-01-02 00:30:00.123456+00');
INSERT INTO public.router_replicas VALUES ('1 a	b\N \. ''q'' "d" ,;
— ünï 漢字 🙂 %s', '2026-02-02 00:30:00.123456+00');
INSERT INTO public.run_stations VALUES ('0 a	b\N \. ''q'' "d" ,;
— ünï 漢字 🙂 %s', '0 a	b\N \. ''q'' "d" ,;
— ünï 漢字 🙂 %s', 'running', '{"a": [1.50, null, "é\\n0"], "b": {"": true}}', '2026-01-05 00:30:00.123456+00', '2026-01-06 00:30:00.123456+00');
INSERT INTO public.run_stations VALUES ('1 a	b\N \. ''q'' "d" ,;
— ünï 漢字 🙂 %s', '1 a	b\N \. ''q'' "d" ,;
— ünï 漢字 🙂 %s', 'succeeded', '{"a": [1.50, null, "é\\n1"], "b": {"": true}}', '2026-02-05 00:30:00.123456+00', NULL);
INSERT INTO public.runs VALUES ('0 a	b\N \. ''q'' "d" ,;
— ünï 漢字 🙂 %s', '0 a	b\N \. ''q'' "d" ,;
— ünï 漢字 🙂 %s', '0 a	b\N \. ''q'' "d" ,;
— ünï 漢字 🙂 %s', '{"a": [1.50, null, "é\\n0"], "b": {"": true}}', '{"a": [1.50, null, "é\\n0"], "b": {"": true}}', '0 a	b\N \. ''q'' "d" ,;
— ünï 漢字 🙂 %s', 'running', '0 a	b\N \. ''q'' "d" ,;
— ünï 漢字 🙂 %s', '0 a	b\N \. ''q'' "d" ,;
— ünï 漢字 🙂 %s', '2026-01-10 00:30:00.123456+00', '2026-01-11 00:30:00.123456+00');
INSERT INTO public.runs VALUES ('1 a	b\N \. ''q'' "d" ,;
— ünï 漢字 🙂 %s', '1 a	b\N \. ''q'' "d" ,;
— ünï 漢字 🙂 %s', '1 a	b\N \. ''q'' "d" ,;
— ünï 漢字 🙂 %s', '{"a": [1.50, null, "é\\n1"], "b": {"": true}}', '{"a": [1.50, null, "é\\n1"], "b": {"": true}}', NULL, 'succeeded', NULL, NULL, '2026-02-10 00:30:00.123456+00', NULL);
INSERT INTO public.suite_cases VALUES ('0 a	b\N \. ''q'' "d" ,;
— ünï 漢字 🙂 %s', '0 a	b\N \. ''q'' "d" ,;
— ünï 漢字 🙂 %s', '{"a": [1.50, null, "é\\n0"], "b": {"": true}}', '0 a	b\N \. ''q'' "d" ,;
— ünï 漢字 🙂 %s', '0 a	b\N \. ''q'' "d" ,;
— ünï 漢字 🙂 %s', '0 a	b\N \. ''q'' "d" ,;
— ünï 漢字 🙂 %s', '0 a	b\N \. ''q'' "d" ,;
— ünï 漢字 🙂 %s', '2026-01-08 00:30:00.123456+00', '2026-01-09 00:30:00.123456+00', '0 a	b\N \. ''q'' "d" ,;
— ünï 漢字 🙂 %s', '0 a	b\N \. ''q'' "d" ,;
— ünï 漢字 🙂 %s');
INSERT INTO public.suite_cases VALUES ('1 a	b\N \. ''q'' "d" ,;
— ünï 漢字 🙂 %s', '1 a	b\N \. ''q'' "d" ,;
— ünï 漢字 🙂 %s', '{"a": [1.50, null, "é\\n1"], "b": {"": true}}', '1 a	b\N \. ''q'' "d" ,;
— ünï 漢字 🙂 %s', '1 a	b\N \. ''q'' "d" ,;
— ünï 漢字 🙂 %s', '1 a	b\N \. ''q'' "d" ,;
— ünï 漢字 🙂 %s', '1 a	b\N \. ''q'' "d" ,;
— ünï 漢字 🙂 %s', '2026-02-08 00:30:00.123456+00', NULL, NULL, NULL);
INSERT INTO public.suite_mutes OVERRIDING SYSTEM VALUE VALUES (1, '0 a	b\N \. ''q'' "d" ,;
— ünï 漢字 🙂 %s', '0 a	b\N \. ''q'' "d" ,;
— ünï 漢字 🙂 %s', '0 a	b\N \. ''q'' "d" ,;
— ünï 漢字 🙂 %s', '0 a	b\N \. ''q'' "d" ,;
— ünï 漢字 🙂 %s', '2026-01-06 00:30:00.123456+00', '2026-01-07 00:30:00.123456+00', '2026-01-08 00:30:00.123456+00', '0 a	b\N \. ''q'' "d" ,;
— ünï 漢字 🙂 %s');
INSERT INTO public.suite_mutes OVERRIDING SYSTEM VALUE VALUES (2, '1 a	b\N \. ''q'' "d" ,;
— ünï 漢字 🙂 %s', '1 a	b\N \. ''q'' "d" ,;
— ünï 漢字 🙂 %s', '1 a	b\N \. ''q'' "d" ,;
— ünï 漢字 🙂 %s', '1 a	b\N \. ''q'' "d" ,;
— ünï 漢字 🙂 %s', '2026-02-06 00:30:00.123456+00', '2026-02-07 00:30:00.123456+00', NULL, NULL);
INSERT INTO public.suite_outcomes VALUES ('0 a	b\N \. ''q'' "d" ,;
— ünï 漢字 🙂 %s', '0 a	b\N \. ''q'' "d" ,;
— ünï 漢字 🙂 %s', '0 a	b\N \. ''q'' "d" ,;
— ünï 漢字 🙂 %s', '0 a	b\N \. ''q'' "d" ,;
— ünï 漢字 🙂 %s', 1, 1, '0 a	b\N \. ''q'' "d" ,;
— ünï 漢字 🙂 %s', '0 a	b\N \. ''q'' "d" ,;
— ünï 漢字 🙂 %s', '2026-01-09 00:30:00.123456+00');
INSERT INTO public.suite_outcomes VALUES ('1 a	b\N \. ''q'' "d" ,;
— ünï 漢字 🙂 %s', '1 a	b\N \. ''q'' "d" ,;
— ünï 漢字 🙂 %s', '1 a	b\N \. ''q'' "d" ,;
— ünï 漢字 🙂 %s', '1 a	b\N \. ''q'' "d" ,;
— ünï 漢字 🙂 %s', 2, 2, '1 a	b\N \. ''q'' "d" ,;
— ünï 漢字 🙂 %s', '1 a	b\N \. ''q'' "d" ,;
— ünï 漢字 🙂 %s', '2026-02-09 00:30:00.123456+00');
INSERT INTO public.suite_rollbacks VALUES ('0 a	b\N \. ''q'' "d" ,;
— ünï 漢字 🙂 %s', '{"a": [1.50, null, "é\\n0"], "b": {"": true}}', '2026-01-03 00:30:00.123456+00');
INSERT INTO public.suite_rollbacks VALUES ('1 a	b\N \. ''q'' "d" ,;
— ünï 漢字 🙂 %s', '{"a": [1.50, null, "é\\n1"], "b": {"": true}}', '2026-02-03 00:30:00.123456+00');
INSERT INTO public.trigger_looks OVERRIDING SYSTEM VALUE VALUES (1, '0 a	b\N \. ''q'' "d" ,;
— ünï 漢字 🙂 %s', '2026-01-03 00:30:00.123456+00', '{"a": [1.50, null, "é\\n0"], "b": {"": true}}', '{"0 a	b\\N \\. ''q'' \"d\" ,;
— ünï 漢字 🙂 %s","0 a	b\\N \\. ''q'' \"d\" ,;
— ünï 漢字 🙂 %s"}', '0 a	b\N \. ''q'' "d" ,;
— ünï 漢字 🙂 %s');
INSERT INTO public.trigger_looks OVERRIDING SYSTEM VALUE VALUES (2, '1 a	b\N \. ''q'' "d" ,;
— ünï 漢字 🙂 %s', '2026-02-03 00:30:00.123456+00', '{"a": [1.50, null, "é\\n1"], "b": {"": true}}', '{"1 a	b\\N \\. ''q'' \"d\" ,;
— ünï 漢字 🙂 %s","1 a	b\\N \\. ''q'' \"d\" ,;
— ünï 漢字 🙂 %s"}', NULL);
INSERT INTO public.turn_requests VALUES ('0 a	b\N \. ''q'' "d" ,;
— ünï 漢字 🙂 %s', '0 a	b\N \. ''q'' "d" ,;
— ünï 漢字 🙂 %s', 'full', true, '0 a	b\N \. ''q'' "d" ,;
— ünï 漢字 🙂 %s', '0 a	b\N \. ''q'' "d" ,;
— ünï 漢字 🙂 %s', '2026-01-07 00:30:00.123456+00', 'requested', '0 a	b\N \. ''q'' "d" ,;
— ünï 漢字 🙂 %s', '2026-01-10 00:30:00.123456+00', '0 a	b\N \. ''q'' "d" ,;
— ünï 漢字 🙂 %s');
INSERT INTO public.turn_requests VALUES ('1 a	b\N \. ''q'' "d" ,;
— ünï 漢字 🙂 %s', '1 a	b\N \. ''q'' "d" ,;
— ünï 漢字 🙂 %s', 'incremental', true, '1 a	b\N \. ''q'' "d" ,;
— ünï 漢字 🙂 %s', '1 a	b\N \. ''q'' "d" ,;
— ünï 漢字 🙂 %s', '2026-02-07 00:30:00.123456+00', 'launched', NULL, NULL, NULL);
INSERT INTO public.user_counts VALUES (1, 1, '0 a	b\N \. ''q'' "d" ,;
— ünï 漢字 🙂 %s', '0 a	b\N \. ''q'' "d" ,;
— ünï 漢字 🙂 %s', 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1);
INSERT INTO public.user_counts VALUES (2, 2, '1 a	b\N \. ''q'' "d" ,;
— ünï 漢字 🙂 %s', '1 a	b\N \. ''q'' "d" ,;
— ünï 漢字 🙂 %s', 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2);
INSERT INTO public.windows VALUES ('0 a	b\N \. ''q'' "d" ,;
— ünï 漢字 🙂 %s', 1, '{"0 a	b\\N \\. ''q'' \"d\" ,;
— ünï 漢字 🙂 %s","0 a	b\\N \\. ''q'' \"d\" ,;
— ünï 漢字 🙂 %s"}', '13', '14', 1, 1, 1, 1, 1, '0 a	b\N \. ''q'' "d" ,;
— ünï 漢字 🙂 %s', '2026-01-12 00:30:00.123456+00');
INSERT INTO public.windows VALUES ('1 a	b\N \. ''q'' "d" ,;
— ünï 漢字 🙂 %s', 2, '{"1 a	b\\N \\. ''q'' \"d\" ,;
— ünï 漢字 🙂 %s","1 a	b\\N \\. ''q'' \"d\" ,;
— ünï 漢字 🙂 %s"}', '113', '114', 2, 2, 2, 2, 2, '1 a	b\N \. ''q'' "d" ,;
— ünï 漢字 🙂 %s', '2026-02-12 00:30:00.123456+00');
SELECT pg_catalog.setval('public.expiries_entry_seq', 2, true);
SELECT pg_catalog.setval('public.gate_overrides_entry_seq', 2, true);
SELECT pg_catalog.setval('public.metric_looks_counting_seq', 2, true);
SELECT pg_catalog.setval('public.outbox_entry_seq', 2, true);
SELECT pg_catalog.setval('public.review_labels_entry_seq', 2, true);
SELECT pg_catalog.setval('public.rollout_log_entry_seq', 2, true);
SELECT pg_catalog.setval('public.suite_mutes_entry_seq', 2, true);
SELECT pg_catalog.setval('public.trigger_looks_entry_seq', 2, true);
ALTER TABLE ONLY public.api_keys
    ADD CONSTRAINT api_keys_hash_key UNIQUE (hash);
ALTER TABLE ONLY public.api_keys
    ADD CONSTRAINT api_keys_pkey PRIMARY KEY (key_id);
ALTER TABLE ONLY public.erased_ids
    ADD CONSTRAINT erased_ids_pkey PRIMARY KEY (keyed);
ALTER TABLE ONLY public.erasures
    ADD CONSTRAINT erasures_pkey PRIMARY KEY (erasure_id);
ALTER TABLE ONLY public.experiment_strata
    ADD CONSTRAINT experiment_strata_pkey PRIMARY KEY (experiment_id, number);
ALTER TABLE ONLY public.experiments
    ADD CONSTRAINT experiments_launch_key_key UNIQUE (launch_key);
ALTER TABLE ONLY public.experiments
    ADD CONSTRAINT experiments_pkey PRIMARY KEY (experiment_id);
ALTER TABLE ONLY public.expiries
    ADD CONSTRAINT expiries_pkey PRIMARY KEY (entry);
ALTER TABLE ONLY public.feedback_events
    ADD CONSTRAINT feedback_events_pkey PRIMARY KEY (event_id);
ALTER TABLE ONLY public.gate_overrides
    ADD CONSTRAINT gate_overrides_pkey PRIMARY KEY (entry);
ALTER TABLE ONLY public.given_arms
    ADD CONSTRAINT given_arms_pkey PRIMARY KEY (experiment_id, place);
ALTER TABLE ONLY public.groundedness
    ADD CONSTRAINT groundedness_pkey PRIMARY KEY (interaction_id);
ALTER TABLE ONLY public.held_votes
    ADD CONSTRAINT held_votes_pkey PRIMARY KEY (series, event_id);
ALTER TABLE ONLY public.holdout
    ADD CONSTRAINT holdout_pkey PRIMARY KEY (one);
ALTER TABLE ONLY public.holdout_users
    ADD CONSTRAINT holdout_users_pkey PRIMARY KEY (user_digest);
ALTER TABLE ONLY public.imports
    ADD CONSTRAINT imports_pkey PRIMARY KEY (xid, kind);
ALTER TABLE ONLY public.indexed_datasets
    ADD CONSTRAINT indexed_datasets_pkey PRIMARY KEY (dataset);
ALTER TABLE ONLY public.indexed_versions
    ADD CONSTRAINT indexed_versions_pkey PRIMARY KEY (name, version);
ALTER TABLE ONLY public.interactions
    ADD CONSTRAINT interactions_pkey PRIMARY KEY (interaction_id);
ALTER TABLE ONLY public.metric_looks
    ADD CONSTRAINT metric_looks_experiment_id_key UNIQUE (experiment_id);
ALTER TABLE ONLY public.metric_looks
    ADD CONSTRAINT metric_looks_pkey PRIMARY KEY (counting);
ALTER TABLE ONLY public.outbox
    ADD CONSTRAINT outbox_pkey PRIMARY KEY (entry);
ALTER TABLE ONLY public.quarantine
    ADD CONSTRAINT quarantine_pkey PRIMARY KEY (digest);
ALTER TABLE ONLY public.released_votes
    ADD CONSTRAINT released_votes_pkey PRIMARY KEY (series, event_id);
ALTER TABLE ONLY public.retrains
    ADD CONSTRAINT retrains_pkey PRIMARY KEY (name, erasure_id);
ALTER TABLE ONLY public.review_deals
    ADD CONSTRAINT review_deals_pkey PRIMARY KEY (review_id, reviewer, duel_id);
ALTER TABLE ONLY public.review_deals
    ADD CONSTRAINT review_deals_review_id_reviewer_place_key UNIQUE (review_id, reviewer, place);
ALTER TABLE ONLY public.review_duels
    ADD CONSTRAINT review_duels_pkey PRIMARY KEY (review_id, duel_id);
ALTER TABLE ONLY public.review_labels
    ADD CONSTRAINT review_labels_pkey PRIMARY KEY (entry);
ALTER TABLE ONLY public.reviews
    ADD CONSTRAINT reviews_pkey PRIMARY KEY (review_id);
ALTER TABLE ONLY public.reviews
    ADD CONSTRAINT reviews_run_id_key UNIQUE (run_id);
ALTER TABLE ONLY public.rollout_log
    ADD CONSTRAINT rollout_log_pkey PRIMARY KEY (entry);
ALTER TABLE ONLY public.rollouts
    ADD CONSTRAINT rollouts_pkey PRIMARY KEY (rollout_id);
ALTER TABLE ONLY public.router_replicas
    ADD CONSTRAINT router_replicas_pkey PRIMARY KEY (replica_id);
ALTER TABLE ONLY public.run_stations
    ADD CONSTRAINT run_stations_pkey PRIMARY KEY (run_id, station);
ALTER TABLE ONLY public.runs
    ADD CONSTRAINT runs_pkey PRIMARY KEY (run_id);
ALTER TABLE ONLY public.suite_cases
    ADD CONSTRAINT suite_cases_pkey PRIMARY KEY (name, case_id);
ALTER TABLE ONLY public.suite_mutes
    ADD CONSTRAINT suite_mutes_pkey PRIMARY KEY (entry);
ALTER TABLE ONLY public.suite_outcomes
    ADD CONSTRAINT suite_outcomes_pkey PRIMARY KEY (name, case_id);
ALTER TABLE ONLY public.suite_rollbacks
    ADD CONSTRAINT suite_rollbacks_pkey PRIMARY KEY (experiment_id);
ALTER TABLE ONLY public.trigger_looks
    ADD CONSTRAINT trigger_looks_pkey PRIMARY KEY (entry);
ALTER TABLE ONLY public.turn_requests
    ADD CONSTRAINT turn_requests_pkey PRIMARY KEY (request_id);
ALTER TABLE ONLY public.user_counts
    ADD CONSTRAINT user_counts_pkey PRIMARY KEY (counting, stratum, arm, user_id);
ALTER TABLE ONLY public.windows
    ADD CONSTRAINT windows_pkey PRIMARY KEY (series, number);
CREATE INDEX dataset_rows_dataset ON public.dataset_rows USING btree (dataset);
CREATE INDEX dataset_rows_events ON public.dataset_rows USING gin (events);
CREATE INDEX dataset_rows_interactions ON public.dataset_rows USING gin (interactions);
CREATE INDEX dataset_rows_user ON public.dataset_rows USING btree (user_id);
CREATE INDEX erasures_subject ON public.erasures USING btree (subject);
CREATE UNIQUE INDEX experiments_one_running ON public.experiments USING btree (name) WHERE (state = 'running'::text);
CREATE INDEX feedback_events_interaction ON public.feedback_events USING btree (interaction_id);
CREATE INDEX feedback_events_source_xid ON public.feedback_events USING btree (source, xid);
CREATE INDEX gate_overrides_run ON public.gate_overrides USING btree (run_id, entry);
CREATE INDEX groundedness_xid ON public.groundedness USING btree (xid);
CREATE INDEX held_votes_event ON public.held_votes USING btree (event_id);
CREATE INDEX interactions_source_xid ON public.interactions USING btree (source, xid);
CREATE INDEX recounts_source ON public.recounts USING btree (source, xid);
CREATE INDEX released_votes_xid ON public.released_votes USING btree (series, xid);
CREATE INDEX review_deals_duel ON public.review_deals USING btree (review_id, duel_id);
CREATE INDEX review_duels_duel ON public.review_duels USING btree (duel_id);
CREATE INDEX review_labels_duel ON public.review_labels USING btree (duel_id);
CREATE INDEX review_labels_last ON public.review_labels USING btree (review_id, reviewer, duel_id, entry DESC);
CREATE INDEX reviews_name ON public.reviews USING btree (name, opened_at);
CREATE UNIQUE INDEX rollouts_one_active ON public.rollouts USING btree (name) WHERE (state = ANY (ARRAY['active'::text, 'paused'::text]));
CREATE INDEX runs_newest ON public.runs USING btree (name, recipe_digest, started_at);
CREATE INDEX suite_cases_event ON public.suite_cases USING btree (event_id);
CREATE INDEX suite_cases_interaction ON public.suite_cases USING btree (interaction_id);
CREATE INDEX suite_mutes_case ON public.suite_mutes USING btree (name, case_id);
CREATE INDEX trigger_looks_name ON public.trigger_looks USING btree (name, entry DESC);
CREATE INDEX turn_requests_name ON public.turn_requests USING btree (name, asked_at);
CREATE TRIGGER api_keys_tell AFTER INSERT OR DELETE OR UPDATE ON public.api_keys FOR EACH STATEMENT EXECUTE FUNCTION public.tell_keys();
CREATE TRIGGER experiments_announce AFTER INSERT OR DELETE OR UPDATE ON public.experiments FOR EACH ROW EXECUTE FUNCTION public.announce_experiment();
CREATE TRIGGER feedback_events_added AFTER INSERT ON public.feedback_events REFERENCING NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION public.check_events();
CREATE TRIGGER feedback_events_are AFTER UPDATE ON public.feedback_events REFERENCING NEW TABLE AS gone FOR EACH STATEMENT EXECUTE FUNCTION public.mark_answers();
CREATE TRIGGER feedback_events_changed AFTER UPDATE ON public.feedback_events REFERENCING NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION public.check_events();
CREATE TRIGGER feedback_events_emptied AFTER TRUNCATE ON public.feedback_events FOR EACH STATEMENT EXECUTE FUNCTION public.forget_looks();
CREATE TRIGGER feedback_events_gone AFTER DELETE ON public.feedback_events REFERENCING OLD TABLE AS gone FOR EACH STATEMENT EXECUTE FUNCTION public.mark_answers();
CREATE TRIGGER feedback_events_were AFTER UPDATE ON public.feedback_events REFERENCING OLD TABLE AS gone FOR EACH STATEMENT EXECUTE FUNCTION public.mark_answers();
CREATE TRIGGER gate_overrides_stay BEFORE DELETE OR UPDATE ON public.gate_overrides FOR EACH ROW EXECUTE FUNCTION public.refuse_change();
CREATE TRIGGER groundedness_gone AFTER DELETE ON public.groundedness REFERENCING OLD TABLE AS gone FOR EACH STATEMENT EXECUTE FUNCTION public.mark_answers();
CREATE TRIGGER groundedness_were AFTER UPDATE ON public.groundedness REFERENCING OLD TABLE AS gone FOR EACH STATEMENT EXECUTE FUNCTION public.mark_answers();
CREATE TRIGGER interactions_are AFTER UPDATE ON public.interactions REFERENCING NEW TABLE AS gone FOR EACH STATEMENT EXECUTE FUNCTION public.mark_interactions();
CREATE TRIGGER interactions_emptied AFTER TRUNCATE ON public.interactions FOR EACH STATEMENT EXECUTE FUNCTION public.forget_looks();
CREATE TRIGGER interactions_gone AFTER DELETE ON public.interactions REFERENCING OLD TABLE AS gone FOR EACH STATEMENT EXECUTE FUNCTION public.mark_interactions();
CREATE TRIGGER interactions_renamed AFTER UPDATE OF interaction_id ON public.interactions FOR EACH ROW WHEN ((old.interaction_id <> new.interaction_id)) EXECUTE FUNCTION public.keep_events_company();
CREATE TRIGGER interactions_take_events AFTER DELETE ON public.interactions REFERENCING OLD TABLE AS gone FOR EACH STATEMENT EXECUTE FUNCTION public.take_events_along();
CREATE TRIGGER interactions_truncated AFTER TRUNCATE ON public.interactions FOR EACH STATEMENT EXECUTE FUNCTION public.keep_events_company();
CREATE TRIGGER interactions_were AFTER UPDATE ON public.interactions REFERENCING OLD TABLE AS gone FOR EACH STATEMENT EXECUTE FUNCTION public.mark_interactions();
ALTER TABLE ONLY public.dataset_rows
    ADD CONSTRAINT dataset_rows_dataset_fkey FOREIGN KEY (dataset) REFERENCES public.indexed_datasets(dataset) ON DELETE CASCADE;
ALTER TABLE ONLY public.erased_ids
    ADD CONSTRAINT erased_ids_erasure_id_fkey FOREIGN KEY (erasure_id) REFERENCES public.erasures(erasure_id) ON DELETE CASCADE;
ALTER TABLE ONLY public.experiment_strata
    ADD CONSTRAINT experiment_strata_experiment_id_fkey FOREIGN KEY (experiment_id) REFERENCES public.experiments(experiment_id) ON DELETE CASCADE;
ALTER TABLE ONLY public.given_arms
    ADD CONSTRAINT given_arms_experiment_id_fkey FOREIGN KEY (experiment_id) REFERENCES public.experiments(experiment_id) ON DELETE CASCADE;
ALTER TABLE ONLY public.groundedness
    ADD CONSTRAINT groundedness_interaction_id_fkey FOREIGN KEY (interaction_id) REFERENCES public.interactions(interaction_id) ON DELETE CASCADE;
ALTER TABLE ONLY public.held_votes
    ADD CONSTRAINT held_votes_series_number_fkey FOREIGN KEY (series, number) REFERENCES public.windows(series, number);
ALTER TABLE ONLY public.released_votes
    ADD CONSTRAINT released_votes_series_event_id_fkey FOREIGN KEY (series, event_id) REFERENCES public.held_votes(series, event_id) ON DELETE CASCADE;
ALTER TABLE ONLY public.retrains
    ADD CONSTRAINT retrains_erasure_id_fkey FOREIGN KEY (erasure_id) REFERENCES public.erasures(erasure_id) ON DELETE CASCADE;
ALTER TABLE ONLY public.review_deals
    ADD CONSTRAINT review_deals_review_id_duel_id_fkey FOREIGN KEY (review_id, duel_id) REFERENCES public.review_duels(review_id, duel_id) ON DELETE CASCADE;
ALTER TABLE ONLY public.review_duels
    ADD CONSTRAINT review_duels_review_id_fkey FOREIGN KEY (review_id) REFERENCES public.reviews(review_id) ON DELETE CASCADE;
ALTER TABLE ONLY public.review_labels
    ADD CONSTRAINT review_labels_review_id_reviewer_duel_id_fkey FOREIGN KEY (review_id, reviewer, duel_id) REFERENCES public.review_deals(review_id, reviewer, duel_id) ON DELETE CASCADE;
ALTER TABLE ONLY public.rollout_log
    ADD CONSTRAINT rollout_log_rollout_id_fkey FOREIGN KEY (rollout_id) REFERENCES public.rollouts(rollout_id);
ALTER TABLE ONLY public.rollouts
    ADD CONSTRAINT rollouts_experiment_id_fkey FOREIGN KEY (experiment_id) REFERENCES public.experiments(experiment_id);
ALTER TABLE ONLY public.run_stations
    ADD CONSTRAINT run_stations_run_id_fkey FOREIGN KEY (run_id) REFERENCES public.runs(run_id) ON DELETE CASCADE;
ALTER TABLE ONLY public.suite_cases
    ADD CONSTRAINT suite_cases_event_id_fkey FOREIGN KEY (event_id) REFERENCES public.feedback_events(event_id) ON DELETE CASCADE;
ALTER TABLE ONLY public.suite_cases
    ADD CONSTRAINT suite_cases_interaction_id_fkey FOREIGN KEY (interaction_id) REFERENCES public.interactions(interaction_id) ON DELETE CASCADE;
ALTER TABLE ONLY public.suite_rollbacks
    ADD CONSTRAINT suite_rollbacks_experiment_id_fkey FOREIGN KEY (experiment_id) REFERENCES public.experiments(experiment_id);
