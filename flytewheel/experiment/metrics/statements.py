"""The SQL that turns rows into counters: what an answer is worth to its user, and the sums of both.

One answer gives the same counters wherever it is counted, so the statements differ only in which answers they read and
from which moment: `sign` is +1 for an answer as it is now and −1 for the same answer as the last look saw it.

Of several votes on one answer the last counts; a rating of 4 or 5 is a vote up, 1 or 2 one down, a correction one down.
Rewards are those of flytewheel/feedback/rewards.py, in whole billionths, so that no order of adding changes a sum:
of explicit events the last counts (follow-ups and abandonments only where nobody voted), implicit ones add up, each
part and the whole are clipped to [−1, 1]. Amounts that a client made up are read as `numeric`: a number beyond a double
must not stop a look.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

from flytewheel.experiment.metrics.rows import Place, Word, list_columns
from flytewheel.recipe import Rewards

UNIT = 1_000_000_000  # of rewards
RATING_UNIT = 1_000_000
UNITS = {"rating_sum": RATING_UNIT, "reward_sum": UNIT}  # parts of one that a counter stands in
_FAR = UNIT * 1_000_000  # beyond what any sum of other events makes up for

# Counters of an answer, and what each is worth; answers without events or a check have nulls there.
ANSWER: dict[str, str] = {
    "requests": "1",
    "failed": "failed::int",
    "timed": "(latency_ms IS NOT NULL AND %(latency_ms)s::float8 IS NOT NULL)::int",
    "slow": "coalesce(latency_ms > %(latency_ms)s::float8 * CASE WHEN arm IN ('control', '') THEN 1"
    " ELSE %(slower)s END, false)::int",
    "first_timed": "(first_ms IS NOT NULL AND %(first_ms)s::float8 IS NOT NULL)::int",
    "first_slow": "coalesce(first_ms > %(first_ms)s::float8 * CASE WHEN arm IN ('control', '') THEN 1"
    " ELSE %(first_slower)s END, false)::int",
    "metered": "(tokens IS NOT NULL)::int",
    "votes": "(vote IS NOT NULL)::int",
    "ups": "coalesce(vote = 1, false)::int",
    "downs": "coalesce(vote = 0, false)::int",
    "ratings": "(rating IS NOT NULL)::int",
    "corrected": "coalesce(corrected, false)::int",
    "reformulated": "coalesce(reformulated, false)::int",
    "abandoned": "coalesce(abandoned, false)::int",
    "copied": "coalesce(copied, false)::int",
    "cited": "coalesce(cited, false)::int",
    "commented": "coalesce(commented, false)::int",
    "responded": "coalesce(responded, false)::int",
    "rewarded": "(explicit IS NOT NULL OR implicit IS NOT NULL)::int",
    "checked": "(spans IS NOT NULL)::int",
    "grounded": "coalesce(unsupported = 0, false)::int",
    "spans": "coalesce(spans, 0)",
    "unsupported": "coalesce(unsupported, 0)",
    "tokens": "coalesce(tokens, 0)",
    "rating_sum": "coalesce(rating, 0)",
    "reward_sum": f"greatest(-{UNIT}, least({UNIT}, coalesce(explicit, 0) + coalesce(implicit, 0)))",
}
COLUMNS = ", ".join(ANSWER)
_KEY = "stratum, arm, user_id"
_SUMS = ", ".join(f"sum({name})::bigint AS {name}" for name in ANSWER)

# What an interaction's body says; `{source}` gives rows of interactions as `i`, with a sign. OFFSET 0 keeps the planner
# from reading the body once more for every use of what was read from it.
_SERVED = """
SELECT sign, interaction_id, user_id, CASE WHEN stratum < 0 THEN '' ELSE arm END AS arm, stratum, failed, latency_ms,
    first_ms, tokens
FROM (
    SELECT *, {stratum} AS stratum
    FROM (
        SELECT sign, i.interaction_id, i.user_id, i.stored_at, i."timestamp",
            coalesce(i.body ->> 'experiment_id', '') AS experiment_id, i.body ->> 'arm' AS arm,
            (i.body ->> 'propensity')::float8 AS propensity, (i.body ->> 'latency_ms')::float8 AS latency_ms,
            (i.body ->> 'completed') = 'false' OR (i.body #>> '{{metadata,fallback}}') IS NOT NULL AS failed,
            CASE WHEN jsonb_typeof(i.body #> '{{metadata,first_token_ms}}') = 'number' THEN nullif(round(least(greatest(
                (i.body #> '{{metadata,first_token_ms}}')::numeric, 0), 1e12), 6), 0)::float8 END AS first_ms,
            CASE WHEN jsonb_typeof(i.body #> '{{metadata,completion_tokens}}') = 'number' THEN greatest(0, least(
                (i.body #> '{{metadata,completion_tokens}}')::numeric, 1e9))::bigint END AS tokens
        FROM {source} OFFSET 0
    ) AS raw OFFSET 0
) AS placed WHERE stratum IS NOT NULL
"""
_STRATUM = """CASE WHEN experiment_id = %(experiment_id)s THEN {place}
    WHEN stored_at < %(began)s AND "timestamp" < %(began)s
        AND "timestamp" >= %(began)s - make_interval(days => %(before_days)s)
        AND coalesce(arm, 'control') = 'control' THEN -1 END"""


def _amount(name: str) -> str:
    return f"CASE WHEN jsonb_typeof(metadata -> '{name}') = 'number' THEN (metadata -> '{name}')::numeric END"


_STRONG = "('thumbs_up', 'thumbs_down', 'rating', 'correction', 'edit', 'duel')"
_SAID = f"""
SELECT sign, interaction_id, "timestamp", event_id, kind, comment, rating,
    CASE WHEN kind = 'thumbs_up' OR rating >= 4 THEN 1
         WHEN kind IN ('thumbs_down', 'correction') OR rating <= 2 THEN 0 END AS vote,
    kind IN {_STRONG} AS strong,
    CASE kind WHEN 'rating' THEN round(coalesce((rating - 3) / 2, 0) * {UNIT})
        WHEN 'duel' THEN CASE body ->> 'preferred' WHEN 'this' THEN %(duel)s WHEN 'other' THEN -%(duel)s ELSE 0 END
        WHEN 'accepted' THEN CASE WHEN {_amount("seconds")} <= %(accepted_within_s)s THEN %(accepted)s ELSE 0 END
        WHEN 'citation_click' THEN round(greatest(-{_FAR}, least({_FAR},
            %(citation_click)s * coalesce({_amount("count")}, 1))))
        WHEN 'read_time' THEN CASE WHEN {_amount("read_s")} / nullif({_amount("expected_s")}, 0)
            >= %(read_share)s - 1e-9 THEN %(read_time)s ELSE 0 END
        WHEN 'thumbs_up' THEN %(thumbs_up)s WHEN 'thumbs_down' THEN %(thumbs_down)s
        WHEN 'correction' THEN %(correction)s WHEN 'edit' THEN %(edit)s WHEN 'abandonment' THEN %(abandonment)s
        WHEN 'follow_up' THEN %(follow_up)s WHEN 'reformulation' THEN %(reformulation)s WHEN 'copied' THEN %(copied)s
    END::bigint AS value
FROM (
    SELECT s.sign, s.interaction_id, e."timestamp", e.event_id, e.feedback_type AS kind, e.body, e.metadata,
        (e.body ->> 'rating')::float8 AS rating, coalesce(e.body ->> 'comment', '') <> '' AS comment
    FROM served s {{events}} CROSS JOIN look
    WHERE {{seen}} AND (s.stratum >= 0 OR e.stored_at < %(began)s) OFFSET 0
) AS given
"""
_LAST = '(array_agg({0} ORDER BY "timestamp" DESC, event_id COLLATE "C" DESC) FILTER (WHERE {1}))[1]'
_CLIP = f"greatest(-{UNIT}, least({UNIT}, {{0}}))"
_ANSWERS = f"""
SELECT sign, interaction_id, vote, round(rating * {RATING_UNIT})::bigint AS rating, corrected, reformulated, abandoned,
    copied, cited, commented, responded,
    CASE WHEN implicit IS NOT NULL THEN {_CLIP.format("implicit")}::bigint END AS implicit,
    CASE WHEN strong IS NOT NULL THEN {_CLIP.format("strong")}
        WHEN abandoned THEN {_CLIP.format("%(abandonment)s")}
        WHEN followed THEN {_CLIP.format("%(follow_up)s")} END AS explicit
FROM (
    SELECT sign, interaction_id, {_LAST.format("vote", "vote IS NOT NULL")} AS vote,
        {_LAST.format("rating", "rating IS NOT NULL")} AS rating, {_LAST.format("value", "strong")} AS strong,
        sum(value) FILTER (WHERE NOT strong AND kind NOT IN ('abandonment', 'follow_up')) AS implicit,
        bool_or(kind = 'correction') AS corrected, bool_or(kind = 'reformulation') AS reformulated,
        bool_or(kind = 'abandonment') AS abandoned, bool_or(kind = 'follow_up') AS followed,
        bool_or(kind = 'copied') AS copied, bool_or(kind = 'citation_click') AS cited,
        bool_or(comment) AS commented, bool_or(strong OR comment) AS responded
    FROM said GROUP BY sign, interaction_id
) AS summed
"""
_WORTH = f"""
SELECT {_KEY}, {", ".join(f"sum(sign * {worth})::bigint AS {name}" for name, worth in ANSWER.items())}
FROM (
    SELECT served.*, a.vote, a.rating, a.corrected, a.reformulated, a.abandoned, a.copied, a.cited, a.commented,
        a.responded, a.implicit, a.explicit, g.spans, g.unsupported
    FROM served CROSS JOIN look LEFT JOIN answers a USING (sign, interaction_id)
        {{checks}} AND {{seen}}
            AND (served.stratum >= 0 OR g.checked_at < %(began)s)
) AS told GROUP BY {_KEY}
"""
_STORE = f"INSERT INTO user_counts AS t (counting, {_KEY}, {COLUMNS}) SELECT %(counting)s, {_KEY}, {COLUMNS} FROM "
_ADD = f" ON CONFLICT (counting, {_KEY}) DO UPDATE SET " + ", ".join(f"{c} = t.{c} + excluded.{c}" for c in ANSWER)
_NOTE = "UPDATE metric_looks SET seen = look.now, looked_at = clock_timestamp() FROM look WHERE counting = %(counting)s"
# Ways to what belongs to an answer. Of all answers: as the planner likes. Of some: look each up, whatever the planner
# thinks; it takes a snapshot's difference for a third of the table, and would read all of it for a few rows.
_ALL = {
    "events": "JOIN feedback_events e USING (interaction_id)",
    "checks": "LEFT JOIN groundedness g ON g.interaction_id = served.interaction_id",
}
_EACH = "LATERAL (SELECT * FROM {0} WHERE interaction_id = {1}.interaction_id OFFSET 0)"
_SOME = {
    "events": f"CROSS JOIN {_EACH.format('feedback_events', 's')} AS e",
    "checks": f"LEFT JOIN {_EACH.format('groundedness', 'served')} AS g ON true",
}
_NOW = "pg_visible_in_snapshot({0}.xid, look.now)"
_THEN = "pg_visible_in_snapshot({0}.xid, look.past)"
_NEW = f"{{0}}.xid >= look.low AND {_NOW} AND NOT {_THEN}"
_SIDE = f"CASE WHEN sign > 0 THEN {_NOW} ELSE {_THEN} END"
_AGAIN = f"""UNION ALL SELECT i.interaction_id, 1 FROM look, marked JOIN interactions i USING (user_id)
    WHERE i.source = %(source)s AND {_NOW.format("i")}"""
_PAST = """interactions i, (VALUES (1)) AS side (sign) WHERE i.source = %(source)s
    AND i.stored_at > %(until)s - make_interval(days => %(days)s) AND i.stored_at <= %(until)s"""
_LESS = f"""UNION ALL SELECT {_KEY}, {", ".join(f"-{c}" for c in ANSWER)} FROM marked JOIN user_counts USING (user_id)
    WHERE counting = %(counting)s"""


def read_answers(place: str) -> str:
    """The answers of the experiment, and of the time before, as they are now."""
    return _read(place, "interactions i, (VALUES (1)) AS side (sign) WHERE i.source = %(source)s")


def _read(place: str, source: str) -> str:
    return _SERVED.format(stratum=_STRATUM.format(place=place), source=source)


def read_past() -> str:
    """The answers of some days, whatever arm gave them."""
    return _SERVED.format(stratum="0::smallint", source=_PAST)


def count_past(words: Sequence[Word]) -> str:
    """The counters of every user over some days, of all arms together: as `read_result` takes them."""
    return f"""
WITH look AS MATERIALIZED (SELECT pg_current_snapshot() AS now),
served AS MATERIALIZED ({read_past()}),
said AS ({_SAID.format(seen=_NOW.format("e"), **_ALL)}), answers AS ({_ANSWERS})
SELECT 0::int8, ''::bytea, {list_columns(words)} FROM (
    SELECT user_id, {_SUMS} FROM ({_WORTH.format(seen=_NOW.format("g"), **_ALL)}) AS worth GROUP BY user_id
) AS users
"""


def count_anew(place: str) -> str:
    """Counts everything that there is, into a table without this counting's rows."""
    rows = f"interactions i CROSS JOIN look, (VALUES (1)) AS side (sign) WHERE i.source = %(source)s AND {_NOW}"
    return f"""
WITH look AS MATERIALIZED (SELECT pg_current_snapshot() AS now),
served AS MATERIALIZED ({_read(place, rows.format("i"))}),
said AS ({_SAID.format(seen=_NOW.format("e"), **_ALL)}), answers AS ({_ANSWERS}),
stored AS ({_STORE} ({_WORTH.format(seen=_NOW.format("g"), **_ALL)}) AS worth RETURNING requests),
noted AS ({_NOTE} RETURNING 1)
SELECT (SELECT count(*) FROM noted), (SELECT count(*) FROM served), count(*), coalesce(max(requests), 0)::int8
FROM stored
"""


def count_changes(place: str, *, marked: bool, places: Sequence[Place], words: Sequence[Word]) -> str:
    """Adds what changed since the last look: new answers, and old ones that something new was said of.

    With `marked`, also users whose rows went or were changed: all their answers over again, less what is stored of
    them. Without, nothing at all is done where there are such users, and the count of looks comes back as 0.

    Gives the figures of the look, with 0 in front, and then everything that is stored of the users whose counters it
    changed, of all of `places`: as it was, with −1, and as it is, with 1. For no `words` the figures alone.
    """
    new = {table: _NEW.format(table[0]) for table in ("interactions", "feedback_events", "groundedness", "recounts")}
    rows = f"touched CROSS JOIN {_EACH.format('interactions', 'touched')} AS i WHERE i.source = %(source)s"
    again, less, unless = (_AGAIN, _LESS, "") if marked else ("", "", "WHERE NOT EXISTS (SELECT FROM marked)")
    return f"""
WITH last AS MATERIALIZED (
    SELECT seen AS past, pg_current_snapshot() AS now, pg_snapshot_xmin(seen) AS low FROM metric_looks
    WHERE counting = %(counting)s
), marked AS MATERIALIZED (
    SELECT DISTINCT r.user_id FROM recounts r, last AS look WHERE r.source = %(source)s AND {new["recounts"]}
), look AS MATERIALIZED (SELECT * FROM last {unless}),
fresh AS MATERIALIZED (
    SELECT i.interaction_id, i.user_id FROM look, interactions i WHERE i.source = %(source)s AND {new["interactions"]}
), heard AS MATERIALIZED (
    SELECT f.interaction_id FROM look, feedback_events f
    WHERE f.source = %(source)s AND {new["feedback_events"]}
    UNION SELECT g.interaction_id FROM look, groundedness g WHERE {new["groundedness"]}
), touched AS MATERIALIZED (
    SELECT interaction_id, 1 AS sign FROM fresh WHERE user_id NOT IN (SELECT user_id FROM marked)
    UNION ALL SELECT heard.interaction_id, side.sign
        FROM heard CROSS JOIN {_EACH.format("interactions", "heard")} AS i CROSS JOIN look
        CROSS JOIN (VALUES (1), (-1)) AS side (sign)
    WHERE i.source = %(source)s AND {_THEN.format("i")} AND i.user_id NOT IN (SELECT user_id FROM marked)
    {again}
), served AS MATERIALIZED ({_read(place, rows)}),
said AS ({_SAID.format(seen=_SIDE.format("e"), **_SOME)}), answers AS ({_ANSWERS}),
worth AS ({_WORTH.format(seen=_SIDE.format("g"), **_SOME)} {less}),
total AS MATERIALIZED (SELECT {_KEY}, {_SUMS} FROM worth GROUP BY {_KEY}),
stored AS ({_STORE} total {_ADD} RETURNING t.requests),
noted AS ({_NOTE} RETURNING 1){_list_users(places) if words else ""}
SELECT 0::int8, (SELECT count(*) FROM noted), (SELECT count(*) FROM touched), count(*),
    coalesce(max(requests), 0)::int8, NULL::int8, NULL::bytea{", NULL::int8[]" * (1 + len(words))} FROM stored
{_show_users(words) if words else ""}
"""


def _list_users(places: Sequence[Place]) -> str:
    """Those who changed, before (the statement's own changes are not seen by it) and after."""
    known = ", ".join(f"({place}::smallint, %(place_{number})s)" for number, (place, _) in enumerate(places))
    return f""",
was AS MATERIALIZED (
    SELECT c.* FROM (SELECT DISTINCT user_id FROM total) AS t CROSS JOIN (VALUES {known}) AS p (stratum, arm)
        CROSS JOIN LATERAL (SELECT {_KEY}, {COLUMNS} FROM user_counts WHERE counting = %(counting)s
            AND stratum = p.stratum AND arm = p.arm AND user_id = t.user_id OFFSET 0) AS c
), became AS (
    SELECT {_KEY}, {_SUMS}
    FROM (SELECT {_KEY}, {COLUMNS} FROM was UNION ALL SELECT {_KEY}, {COLUMNS} FROM total) AS sides GROUP BY {_KEY}
)"""


def _show_users(words: Sequence[Word]) -> str:
    return "".join(
        f"""UNION ALL SELECT {side}, 0, 0, 0, 0, stratum::int8, convert_to(arm, 'UTF8'), {list_columns(words)}
FROM {table} WHERE requests > 0 GROUP BY stratum, arm
"""
        for side, table in ((-1, "was"), (1, "became"))
    )


def name_places(places: Sequence[Place]) -> dict[str, object]:
    """The arms of `count_changes`'s places as values."""
    return {f"place_{number}": arm for number, (_, arm) in enumerate(places)}


def scale_rewards(rewards: Rewards) -> dict[str, object]:
    """The recipe's figures as values of the statements: rewards in whole billionths, what is compared as decimals."""
    compared = ("accepted_within_s", "read_share")
    return {
        name: Decimal(repr(value)) if name in compared else round(value * UNIT)
        for name, value in rewards.model_dump().items()
    }
