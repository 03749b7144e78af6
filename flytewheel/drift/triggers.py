"""Decides whether a turn of the loop is due, and says why: enough new interactions, enough time, or other prompts
than before. Between two full turns a small one is due after fewer interactions, where the recipe wants small turns and
no canary runs: its candidate would have nowhere to go. After an erasure a training from the base is due, whatever came
in, until one has succeeded.

Drift is the two-sample Kolmogorov–Smirnov statistic D of prompt lengths (characters), interactions before against
after the last run's window; it counts only when D exceeds the recipe's threshold *and* chance does not explain it
(asymptotic critical value c(α)·√((n+m)/nm) with c(α) = √(−ln(α/2)/2); Smirnov 1948), so that size alone does not fire
it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np

from flytewheel.database import Connection, connect
from flytewheel.recipe import Mode, Recipe
from flytewheel.records import NO_TEXT, TEXT_NOT_KEPT

MAX_SAMPLE = 20_000
_LAST = "SELECT \"window\" ->> 'high_xid', ended_at FROM runs WHERE name = %s AND status = 'succeeded'"
# What stands for a text has no length: of a text that was not kept it is logged, a prompt of pictures alone has none.
_LENGTH = f"""CASE
    WHEN body ->> 'query' = '{TEXT_NOT_KEPT}' AND jsonb_typeof(body #> '{{metadata,query_chars}}') = 'number'
    THEN (body #>> '{{metadata,query_chars}}')::float8 ELSE length(body ->> 'query') END"""
_HAS_PROMPT = f"body ->> 'query' <> '{NO_TEXT}' AND (body #>> '{{metadata,no_text}}') IS DISTINCT FROM 'true'"

_RETRAIN = """
SELECT count(*), min(asked_at) FROM retrains a WHERE name = %s AND NOT EXISTS (
    SELECT FROM runs r WHERE r.name = a.name AND r.status = 'succeeded' AND r.started_at > a.asked_at
    AND coalesce(r.recipe ->> 'mode', 'full') = 'full')
"""


@dataclass(frozen=True, slots=True)
class TriggerReport:
    """What was looked at. `reasons` is empty when nothing is due; `drift` is D in [0, 1], or `None` without two
    samples. `new_interactions` came since the last full turn's window; `mode` is that of the turn that is due.
    """

    due: bool
    reasons: tuple[str, ...]
    new_interactions: int
    hours_since_last_run: float | None
    drift: float | None
    mode: Mode = "full"


def check_triggers(database_url: str, recipe: Recipe, *, now: datetime) -> TriggerReport:
    """Looks at what came in since the last full run of this model that ended, and for small turns since any.

    Raises:
        DatabaseError: PostgreSQL is away.
    """
    sources = list(recipe.sources)
    with connect(database_url) as connection:
        last = connection.execute(
            f"{_LAST} AND coalesce(recipe ->> 'mode', 'full') = 'full' ORDER BY ended_at DESC LIMIT 1", (recipe.name,)
        ).fetchone()
        mark, ended_at = last or ("0", None)
        lengths = {
            is_new: [
                row[0]
                for row in connection.execute(
                    f"SELECT {_LENGTH} FROM interactions WHERE source = ANY(%s) AND {_HAS_PROMPT} "
                    f"AND xid {'>=' if is_new else '<'} %s::xid8 ORDER BY xid DESC, interaction_id LIMIT %s",
                    (sources, mark, MAX_SAMPLE),
                )
            ]
            for is_new in (False, True)
        }
        new = _count_since(connection, sources, mark)
        small = _find_small_reason(connection, recipe, sources)
        forgets = _find_erasure_reason(connection, recipe.name)
    hours = None if ended_at is None else (now - ended_at).total_seconds() / 3600
    statistic = ks_statistic(lengths[False], lengths[True])
    reasons = list(_find_reasons(recipe, new, hours, statistic, len(lengths[False]), len(lengths[True])))
    if forgets is not None:
        return TriggerReport(True, (forgets, *reasons), new, hours, statistic, "full")
    if not reasons and small is not None:
        return TriggerReport(True, (small,), new, hours, statistic, "incremental")
    return TriggerReport(bool(reasons), tuple(reasons), new, hours, statistic, recipe.mode)


def _find_small_reason(connection: Connection, recipe: Recipe, sources: Sequence[str]) -> str | None:
    """Why a small turn is due. Turns that were held count as well, or one would be tried again every hour."""
    small = recipe.automation.incremental
    if not small.enable:
        return None
    last = connection.execute(f"{_LAST} ORDER BY ended_at DESC LIMIT 1", (recipe.name,)).fetchone()
    canary = connection.execute("SELECT FROM experiments WHERE name = %s AND state = 'running'", (recipe.name,))
    if last is None or canary.fetchone() is not None:
        return None
    new = _count_since(connection, sources, last[0])
    if new < small.after_interactions:
        return None
    return f"small turn: {new:,} interactions since the last turn, due from {small.after_interactions:,}"


def _find_erasure_reason(connection: Connection, name: str) -> str | None:
    row = connection.execute(_RETRAIN, (name,)).fetchone()
    if row is None or not row[0]:
        return None
    return f"erasure: versions are tainted since {row[1]:%Y-%m-%d}, only a training from the base forgets"


def _count_since(connection: Connection, sources: Sequence[str], mark: str) -> int:
    counted = connection.execute(
        "SELECT count(*) FROM interactions WHERE source = ANY(%s) AND xid >= %s::xid8", (sources, mark)
    ).fetchone()
    return int(counted[0]) if counted else 0


def _find_reasons(
    recipe: Recipe, new: int, hours: float | None, statistic: float | None, before: int, after: int
) -> Sequence[str]:
    automation, drift = recipe.automation, recipe.drift
    reasons: list[str] = []
    if new < recipe.curation.min_interactions:
        return reasons
    if new >= automation.retrain_after_interactions:
        reasons.append(f"volume: {new:,} new interactions, due from {automation.retrain_after_interactions:,}")
    if hours is None:
        reasons.append(f"first run: {new:,} interactions and no run yet")
    elif hours >= automation.retrain_after_hours:
        reasons.append(f"age: last run {hours:.0f} h ago, due after {automation.retrain_after_hours:.0f} h")
    if statistic is not None and statistic > drift.ks_statistic:
        critical = ks_critical_value(before, after, 1 - drift.confidence_level)
        if statistic > critical:
            reasons.append(
                f"drift: prompt lengths differ by D = {statistic:.3f}, above {drift.ks_statistic} and chance"
            )
    return reasons


def ks_statistic(first: Sequence[float], second: Sequence[float]) -> float | None:
    """Largest distance between two empirical distribution functions, in [0, 1]; `None` when a sample is empty."""
    if not first or not second:
        return None
    a, b = np.sort(np.asarray(first, dtype=float)), np.sort(np.asarray(second, dtype=float))
    points = np.concatenate([a, b])
    gaps = np.searchsorted(a, points, side="right") / len(a) - np.searchsorted(b, points, side="right") / len(b)
    return float(np.abs(gaps).max())


def ks_critical_value(n: int, m: int, alpha: float) -> float:
    """The value that D exceeds with probability `alpha` when both samples of sizes `n` and `m` come from one
    distribution.
    """
    return math.sqrt(-math.log(alpha / 2) / 2) * math.sqrt((n + m) / (n * m))
