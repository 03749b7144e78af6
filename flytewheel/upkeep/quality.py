"""Is what came in during the last day like what came in before? Counts, and an alarm for what is not.

Rows count by when they were stored (`stored_at`, the database's clock), never by a client's. A drop of a rate is an
alarm where it is large (`max_feedback_drop`) *and* no chance; both tests go by user, since one user's reactions are
alike: a rate is a mean over users with its standard error (z), rewards are compared by Kolmogorov–Smirnov over each
user's newest one (users' means would differ without any change: four weeks average more reactions than a day). Ties
make that test conservative; users of both periods make the two more alike than independent ones would be, so that the
tests say less, never more.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flytewheel.database import Connection, connect
from flytewheel.feedback.rewards import score
from flytewheel.recipe import Recipe
from flytewheel.recipe.upkeep import QualitySpec
from flytewheel.records import EXPLICIT_TYPES, FeedbackEvent
from flytewheel.upkeep.reports import Report

EDGES = (-1.0, -0.6, -0.2, 0.2, 0.6, 1.0)  # bins of users' rewards, for pictures
MAX_EVENTS = 50_000  # of each period, the newest, that rewards are scored of
_NO_SCHEMA = ("conflict", "erased person", "expired")  # and `unknown …`: sound lines about something that is not there
_USERS = """
SELECT i.stored_at >= %(from)s, count(*), count(*) FILTER (WHERE e.explicit),
    count(*) FILTER (WHERE e.explicit IS NOT NULL)
FROM interactions i LEFT JOIN LATERAL (
    SELECT bool_or(feedback_type = ANY(%(explicit)s)) AS explicit FROM feedback_events
    WHERE interaction_id = i.interaction_id) e ON true
WHERE i.source = ANY(%(sources)s) AND i.stored_at >= %(since)s AND i.stored_at < %(to)s GROUP BY 1, i.user_id
"""
_EVENTS = """
SELECT stored_at >= %(from)s, feedback_type, count(*) FROM feedback_events
WHERE source = ANY(%(sources)s) AND stored_at >= %(since)s AND stored_at < %(to)s GROUP BY 1, 2
"""
_NEWEST = """
SELECT extract(epoch FROM %(to)s - said.newest)::float8 / 3600, extract(epoch FROM %(to)s - heard.newest)::float8 / 3600
FROM (SELECT max(stored_at) AS newest FROM interactions WHERE source = ANY(%(sources)s)) AS said,
    (SELECT max(stored_at) AS newest FROM feedback_events WHERE source = ANY(%(sources)s)) AS heard
"""
_IMPORTS = """
SELECT lines_read, quarantined FROM imports
WHERE source = ANY(%(sources)s) AND imported_at >= %(from)s AND imported_at < %(to)s
"""
_BODIES = """
SELECT user_id, interaction_id, body FROM feedback_events
WHERE source = ANY(%(sources)s) AND stored_at >= %(begin)s AND stored_at < %(end)s
ORDER BY stored_at DESC, event_id LIMIT %(most)s
"""


@dataclass(frozen=True, slots=True)
class Period:
    """What came in during one period. `captured` and `reacted` are rates of each user, `(users,)`: interactions with an
    explicit reaction, and with any; `rewards` the newest reward of each who reacted.
    """

    interactions: int
    captured: NDArray[np.float64]
    reacted: NDArray[np.float64]
    capture_rate: float | None
    feedback_rate: float | None
    events: Mapping[str, int]
    rewards: NDArray[np.float64]


def look_at_quality(database_url: str, recipe: Recipe, *, now: datetime) -> Report:
    """Looks at the last day of the streams that a recipe learns from.

    Raises:
        DatabaseError: PostgreSQL is away.
    """
    spec = recipe.automation.upkeep.quality
    begin = now - timedelta(hours=spec.window_hours)
    place = {
        "sources": list(recipe.sources),
        "since": begin - timedelta(days=spec.baseline_days),
        "from": begin,
        "to": now,
        "explicit": sorted(EXPLICIT_TYPES),
    }
    with connect(database_url) as connection:
        connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        before, recent = (_read_period(connection, place, recipe, recent=recent) for recent in (False, True))
        ages = connection.execute(_NEWEST, place).fetchall()[0]
        lines, held = _read_imports(connection, place)
    faults = sum(count for reason, count in held.items() if not _is_known(reason))
    alarms = [
        *_judge_age(ages[0], spec),
        *_judge_lines(lines, sum(held.values()), faults, spec),
        *_judge_rates(before, recent, spec),
        *_judge_rewards(before, recent, spec),
    ]
    figures = {
        "window": f"{begin:%Y-%m-%d %H:%M} to {now:%Y-%m-%d %H:%M} UTC",
        "interactions": recent.interactions,
        "events": sum(recent.events.values()),
        "users": len(recent.captured),
        "events_by_type": dict(sorted(recent.events.items())),
        "capture_rate": _round(recent.capture_rate),
        "capture_rate_before": _round(before.capture_rate),
        "feedback_rate": _round(recent.feedback_rate),
        "feedback_rate_before": _round(before.feedback_rate),
        "newest_interaction_hours": _round(ages[0]),
        "newest_event_hours": _round(ages[1]),
        "lines_imported": lines,
        "lines_quarantined": dict(sorted(held.items())),
        "schema_faults": faults,
        "mean_reward": _mean(recent.rewards),
        "mean_reward_before": _mean(before.rewards),
        "reward_shift": _round(compare_rewards(before.rewards, recent.rewards)[0]),
        "rewards": {"edges": list(EDGES), "before": bin_rewards(before.rewards), "recent": bin_rewards(recent.rewards)},
    }
    return Report("quality", recipe.name, figures, tuple(alarms))


def bin_rewards(rewards: NDArray[np.float64]) -> list[int]:
    """Users by their newest reward, `(bins,)`, between EDGES."""
    return [int(count) for count in np.histogram(rewards, bins=EDGES)[0]]


def compare_rewards(before: NDArray[np.float64], recent: NDArray[np.float64]) -> tuple[float | None, float]:
    """Kolmogorov–Smirnov's D of two samples and its p; None and 1 where one is empty."""
    from scipy.stats import ks_2samp

    if not len(before) or not len(recent):
        return None, 1.0
    found = ks_2samp(before, recent, method="asymp")
    return float(found.statistic), float(found.pvalue)


def _read_period(connection: Connection, place: Mapping[str, Any], recipe: Recipe, *, recent: bool) -> Period:
    counts = np.array([row[1:] for row in connection.execute(_USERS, place) if row[0] is recent], dtype=float).reshape(
        -1, 3
    )
    events = {row[1]: int(row[2]) for row in connection.execute(_EVENTS, place) if row[0] is recent}
    begin, end = (place["from"], place["to"]) if recent else (place["since"], place["from"])
    rows = connection.execute(_BODIES, {**place, "begin": begin, "end": end, "most": MAX_EVENTS}).fetchall()
    total = counts[:, 0].sum()
    return Period(
        int(total),
        counts[:, 1] / counts[:, 0],
        counts[:, 2] / counts[:, 0],
        float(counts[:, 1].sum() / total) if total else None,
        float(counts[:, 2].sum() / total) if total else None,
        events,
        _score_users(rows, recipe),
    )


def _score_users(rows: Sequence[tuple[Any, ...]], recipe: Recipe) -> NDArray[np.float64]:
    heard: dict[tuple[str, str], list[FeedbackEvent]] = defaultdict(list)
    for user, interaction, body in rows:
        heard[user, interaction].append(FeedbackEvent.model_validate(body))
    newest: dict[str, float] = {}
    for (user, _), events in heard.items():  # the newest interaction first
        reward = score(events, recipe.feedback).total
        if reward is not None:
            newest.setdefault(user, reward)
    return np.array(list(newest.values()), dtype=float)


def _read_imports(connection: Connection, place: Mapping[str, Any]) -> tuple[int, Counter[str]]:
    lines, held = 0, Counter[str]()
    for read, quarantined in connection.execute(_IMPORTS, place):
        lines += int(read)
        held.update({reason: int(count) for reason, count in quarantined.items()})
    return lines, held


def _is_known(reason: str) -> bool:
    return reason in _NO_SCHEMA or reason.startswith("unknown interaction")


# --------------------------------------------------------------------------------------------------------------- alarms


def _judge_age(hours: float | None, spec: QualitySpec) -> list[str]:
    if hours is None:
        return ["nothing was ever stored: is the router's feedback stream the recipe's `feedback.sources`?"]
    if hours > spec.max_age_hours:
        return [f"the newest interaction is {hours:.0f} h old, expected within {spec.max_age_hours:.0f} h"]
    return []


def _judge_lines(lines: int, held: int, faults: int, spec: QualitySpec) -> list[str]:
    if lines < spec.min_rows:
        return []
    found = []
    if held / lines > spec.max_quarantined:
        found.append(f"{held:,} of {lines:,} imported lines are in quarantine ({held / lines:.1%})")
    if faults / lines > spec.max_schema_faults:
        found.append(f"{faults:,} of {lines:,} imported lines are no interaction or event ({faults / lines:.1%})")
    return found


def _judge_rates(before: Period, recent: Period, spec: QualitySpec) -> list[str]:
    if min(before.interactions, recent.interactions) < spec.min_rows:
        return []
    found = []
    for name, old, new, old_users, new_users in (
        ("capture rate", before.capture_rate, recent.capture_rate, before.captured, recent.captured),
        ("feedback rate", before.feedback_rate, recent.feedback_rate, before.reacted, recent.reacted),
    ):
        if old is None or new is None or new >= old * (1 - spec.max_feedback_drop):
            continue
        if _p_of_drop(old_users, new_users) < 1 - spec.confidence_level:
            found.append(f"the {name} fell from {old:.1%} to {new:.1%}")
    return found


def _p_of_drop(before: NDArray[np.float64], recent: NDArray[np.float64]) -> float:
    """One-sided p of lower means, Welch's z over users; 1 where a sample has no spread to go by."""
    if min(len(before), len(recent)) < 2:
        return 1.0
    spread = math.sqrt(before.var(ddof=1) / len(before) + max(recent.var(ddof=1), before.var(ddof=1)) / len(recent))
    if not spread:
        return 1.0
    return 0.5 * math.erfc(float(before.mean() - recent.mean()) / spread / math.sqrt(2))


def _judge_rewards(before: Period, recent: Period, spec: QualitySpec) -> list[str]:
    if min(len(before.rewards), len(recent.rewards)) < spec.min_rows // 2:
        return []
    shift, p = compare_rewards(before.rewards, recent.rewards)
    if shift is None or shift <= spec.max_reward_shift or p >= 1 - spec.confidence_level:
        return []
    old, new = before.rewards.mean(), recent.rewards.mean()
    return [f"rewards shifted: {old:+.2f} in the mean before, {new:+.2f} now (D = {shift:.2f})"]


def _mean(rewards: NDArray[np.float64]) -> float | None:
    return _round(float(rewards.mean())) if len(rewards) else None


def _round(value: float | None) -> float | None:
    return None if value is None else round(value, 4)
