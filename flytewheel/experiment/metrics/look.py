"""Brings the counters of an experiment up to date: a look costs what is new, and gives what counting anew would give.

**Commit order.** Rows carry the transaction that wrote them (`xid`). A look keeps the snapshot it was taken with; what
is new at the next is what that snapshot did not see and the new one does, row by row (`pg_visible_in_snapshot`). So a
transaction that began before a look and committed after it is counted once, at the next look, and one that takes hours
holds nobody up. Snapshot and counters are written by one statement.

**Late and changed.** An answer whose events changed is subtracted as the last snapshot saw it and added as it is now;
that works since events are only ever added. Where rows went or were changed (erased, expired), triggers mark their
users in the same transaction, and the next look counts those anew. Sums are whole numbers: no order of adding matters.

**From nothing** is counted the first time, when the terms (rewards, margins of quantiles, days before) are others,
when PostgreSQL is another (its transaction numbers mean nothing here), and until the thresholds of `slow` are frozen:
that is the first look with `burn_in_users` users and 200 answers in the control (10 beyond the quantile).

A look holds a lock of its source until the transaction ends: of two at once the second finds nothing new.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from psycopg.pq.abc import PGresult
from psycopg.types.json import Jsonb

from flytewheel.database import Connection
from flytewheel.errors import ExperimentError
from flytewheel.experiment.metrics import statements
from flytewheel.experiment.metrics.declared import Metric
from flytewheel.experiment.metrics.moments import Moments, measure
from flytewheel.experiment.metrics.rows import ANY_COUNT, EARLIER, Place, Rows, Word, pack, read_result
from flytewheel.experiment.metrics.strata import Stratum, list_strata, place_answer
from flytewheel.recipe import Rewards

ERASING = 0x6C6F6F6B  # erasing holds this alone, looks share it: none writes a person back who is being erased
BURN_IN_ANSWERS = 200
KEPT_DAYS = 7  # that counters of a stopped experiment stay; they are counted anew when somebody asks
_THRESHOLDS = """
SELECT count(DISTINCT user_id), count(*), percentile_disc(%(quantile)s) WITHIN GROUP (ORDER BY latency_ms),
    percentile_disc(%(quantile)s) WITHIN GROUP (ORDER BY first_ms)
FROM ({served}) AS served WHERE arm = 'control' AND stratum >= 0
"""
_LOCK = "SELECT pg_advisory_xact_lock_shared(%s), pg_advisory_xact_lock(hashtextextended(%s, 0))"
_FIND = """
SELECT counting, seen::text, terms, thresholds, frozen_at, looked_at, most, moments,
    pg_snapshot_xmax(seen) > pg_snapshot_xmax(pg_current_snapshot()) AS elsewhere
FROM metric_looks WHERE experiment_id = %s
"""
# Counters of experiments that stopped long ago; then the marks that every look of the source has seen.
_FORGET = """
WITH ended AS (
    UPDATE metric_looks l SET seen = NULL FROM experiments e
    WHERE e.experiment_id = l.experiment_id AND l.source = %(source)s AND l.counting <> %(counting)s
        AND l.seen IS NOT NULL AND e.stopped_at < now() - make_interval(days => %(days)s) RETURNING counting
) DELETE FROM user_counts WHERE counting IN (SELECT counting FROM ended)
"""
_UNMARK = """
DELETE FROM recounts r WHERE r.source = %(source)s AND NOT EXISTS (
    SELECT FROM metric_looks l WHERE l.source = r.source AND NOT pg_visible_in_snapshot(r.xid, l.seen))
"""


@dataclass(frozen=True, slots=True)
class Terms:
    """What counters depend on beside the rows.

    Attributes:
        rewards: what each reaction is worth.
        slower: relative margin of `latency_p95`: the treatment's answers are slow beyond (1 + slower) times q.
        first_slower: that of `first_token_p95`.
        before_days: days before the experiment that the covariate is counted over.
        burn_in_users: of the control, from which on the thresholds are frozen.
    """

    rewards: Rewards = field(default_factory=Rewards)
    slower: float = 0.0
    first_slower: float = 0.0
    before_days: int = 28
    burn_in_users: int = 50

    def to_json(self) -> dict[str, Any]:
        """What is compared with the terms of the last look; the burn-in only says when."""
        told = {name: getattr(self, name) for name in ("slower", "first_slower", "before_days")}
        return {**told, "rewards": self.rewards.model_dump()}


@dataclass(frozen=True, slots=True)
class Look:
    """What a look did: `answers` that were counted (twice where one changed) and `users` whose counters changed;
    no user has more answers than `most`. `moments` are those that were kept, brought up to date; None: none were."""

    counting: int
    strata: tuple[Stratum, ...]
    anew: bool
    answers: int
    users: int
    most: int
    moments: Moments | None = None


def set_terms(metrics: Iterable[Metric], rewards: Rewards | None = None, burn_in_users: int = 50) -> Terms:
    """The terms that these metrics ask for: the margins of quantiles are counted into their thresholds."""
    margins = {metric.numerator: metric.relative_margin or 0.0 for metric in metrics if metric.tail is not None}
    return Terms(
        rewards or Rewards(), margins.get("slow", 0.0), margins.get("first_slow", 0.0), burn_in_users=burn_in_users
    )


def take_look(connection: Connection, experiment_id: str, terms: Terms | None = None) -> Look:
    """Counts what changed since the last look at this experiment.

    Args:
        connection: a transaction at READ COMMITTED; what it stored itself is counted by the next one.
        experiment_id: whose answers are counted.
        terms: what counters depend on; None: as at the last look, or the defaults.

    Raises:
        ExperimentError: no such experiment.
    """
    row = connection.execute("SELECT name FROM experiments WHERE experiment_id = %s", (experiment_id,)).fetchone()
    if row is None:
        raise ExperimentError(f"no experiment {experiment_id!r}; list them with `flytewheel experiments list`")
    source = str(row[0])
    connection.execute(_LOCK, (ERASING, f"metrics {source}"))
    connection.execute(
        "INSERT INTO metric_looks (experiment_id, source) VALUES (%s, %s) ON CONFLICT DO NOTHING",
        (experiment_id, source),
    )
    found = connection.execute(_FIND, (experiment_id,)).fetchone()
    assert found is not None
    counting, seen, stored, thresholds, frozen_at, looked_at, most, kept, elsewhere = found
    told = stored if terms is None and stored else (terms or Terms()).to_json()
    strata = list_strata(connection, experiment_id)
    raced = looked_at is not None and any(looked_at >= stratum.since for stratum in _unseen(strata, thresholds))
    anew = seen is None or elsewhere or told != stored or frozen_at is None or raced
    place, values = place_answer(strata)
    values |= statements.scale_rewards(Rewards(**told["rewards"]))
    values |= {"counting": counting, "source": source, "experiment_id": experiment_id}
    values |= {"began": strata[0].since if strata else None, "before_days": told["before_days"]}
    values |= {"slower": 1 + told["slower"], "first_slower": 1 + told["first_slower"]}
    if frozen_at is None:
        thresholds = _find_thresholds(connection, place, values, (terms or Terms()).burn_in_users)
    values |= {name: thresholds.get(name) for name in ("latency_ms", "first_ms")}
    if anew:
        connection.execute("DELETE FROM user_counts WHERE counting = %s", (counting,))
        done, moments = _read_figures(_run(connection, statements.count_anew(place), values), at=0), None
    else:
        moments = None if kept is None else Moments.from_json(kept)
        done, moments = _count_changes(connection, place, strata, values, moments)
    most = max(done[3], 0 if anew else most)
    connection.execute(
        "UPDATE metric_looks SET most = %s, terms = %s, thresholds = %s,"
        " frozen_at = CASE WHEN %s THEN coalesce(frozen_at, now()) END WHERE counting = %s",
        (most, Jsonb(told), Jsonb({**thresholds, "strata": len(strata)}), thresholds.get("frozen", False), counting),
    )
    if anew or done[2]:
        keep_moments(connection, counting, moments)
    given = {"source": source, "counting": counting, "days": KEPT_DAYS}
    connection.execute(_FORGET, given)
    connection.execute(_UNMARK, given)
    return Look(counting, strata, anew, done[1], done[2], most, moments)


def keep_moments(connection: Connection, counting: int, moments: Moments | None) -> None:
    """Stores them for the next look, within this one's transaction."""
    stored = None if moments is None else Jsonb(moments.to_json())
    connection.execute("UPDATE metric_looks SET moments = %s WHERE counting = %s", (stored, counting))


def forget_moments(connection: Connection, user_ids: Sequence[str]) -> None:
    """Before users are taken out of the counters behind the looks' back: sums that they are in are no longer true."""
    connection.execute(
        "UPDATE metric_looks SET moments = NULL WHERE counting IN"
        " (SELECT counting FROM user_counts WHERE user_id = ANY(%s))",
        (list(user_ids),),
    )


def keep_looks_out(connection: Connection) -> None:
    """Lets no look count until this transaction ends, and waits for those that do: for whoever takes a user out."""
    connection.execute("SELECT pg_advisory_xact_lock(%s)", (ERASING,))


def _unseen(strata: tuple[Stratum, ...], thresholds: Mapping[str, Any]) -> tuple[Stratum, ...]:
    return strata[thresholds.get("strata", 0) :]


def _find_thresholds(connection: Connection, place: str, values: Mapping[str, Any], users: int) -> dict[str, Any]:
    """The control's quantiles as they are now, and whether they are frozen from here on."""
    query = _THRESHOLDS.format(served=statements.read_answers(place))
    row = connection.execute(query.encode(), {**values, "quantile": 0.95}).fetchone()
    assert row is not None
    return {"latency_ms": row[2], "first_ms": row[3], "frozen": row[0] >= users and row[1] >= BURN_IN_ANSWERS}


def _count_changes(
    connection: Connection,
    place: str,
    strata: tuple[Stratum, ...],
    values: dict[str, Any],
    moments: Moments | None,
) -> tuple[tuple[int, int, int, int], Moments | None]:
    """The figures of a look that adds what is new, and the moments after it."""
    pairs = moments.sums if moments is not None else ()
    words = pack({"requests", *(name for pair in pairs for name in pair)}, ANY_COUNT) if pairs else []
    places: list[Place] = [EARLIER, *((stratum.number, arm) for stratum in strata for arm in stratum.shares)]
    values |= statements.name_places(places)
    result = _run(connection, statements.count_changes(place, marked=False, places=places, words=words), values)
    if not _read_figures(result, at=1)[0]:
        result = _run(connection, statements.count_changes(place, marked=True, places=places, words=words), values)
        connection.execute("DELETE FROM user_counts WHERE counting = %s AND requests = 0", (values["counting"],))
    if moments is not None and pairs:
        moments = moments.move(*(measure(_pick_side(result, side, words), pairs) for side in (-1, 1)))
    return _read_figures(result, at=1), moments


def _pick_side(result: PGresult, side: int, words: Sequence[Word]) -> dict[Place, Rows]:
    lines = [line for line in range(result.ntuples) if _read_number(result, line, 0) == side]
    return read_result(result, lines, words, at=5)


def _read_figures(result: PGresult, *, at: int) -> tuple[int, int, int, int]:
    lines = [line for line in range(result.ntuples) if not at or _read_number(result, line, 0) == 0]
    one, two, three, four = (_read_number(result, lines[0], at + place) for place in range(4))
    return one, two, three, four


def _read_number(result: PGresult, line: int, column: int) -> int:
    return int.from_bytes(result.get_value(line, column) or b"", "big", signed=True)


def _run(connection: Connection, statement: str, values: Mapping[str, Any]) -> PGresult:
    connection.execute("SET LOCAL work_mem = '128MB'")  # sums of millions of users fit, a small look takes little
    cursor = connection.cursor(binary=True)
    cursor.execute(statement.encode(), values)
    assert cursor.pgresult is not None
    return cursor.pgresult
