"""Decides whether a turn of the loop is due, and says why: enough new interactions, enough time, people who ask
otherwise, vote otherwise or hardly vote any more (`findings`). Between two full turns a small one is due after fewer
interactions or a day, where the recipe wants small turns and no canary runs: its candidate would have nowhere to go.
After an erasure a training from the base is due, whatever came in, until one has succeeded.

What came in since the last full turn's window is held against that window. A new window begins to count anew, so a
level is handed out by time, not by window: of (1 − confidence_level) a year each window may spend what the one before
it lasted, at most `retrain_after_hours`. However often one looks and however many turns there are, a year in which
nobody changes fires with that probability at most.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from flytewheel.database import Connection, connect
from flytewheel.drift.findings import UNKNOWN, Finding, find_differences
from flytewheel.drift.samples import choose_level, count_rows, read_sample
from flytewheel.recipe import Mode, Recipe

HOURS_A_YEAR = 8766.0
CAUSES = {"quality": "quality", "feedback_rate": "feedback"}  # of figures; the others are drift of what people ask
_LAST = """
SELECT "window" ->> 'high_xid', ended_at, coalesce("window" ->> 'low_xid', '0') FROM runs
WHERE name = %s AND status = 'succeeded'
"""
_RETRAIN = """
SELECT count(*), min(asked_at) FROM retrains a WHERE name = %s AND NOT EXISTS (
    SELECT FROM runs r WHERE r.name = a.name AND r.status = 'succeeded' AND r.started_at > a.asked_at
    AND coalesce(r.recipe ->> 'mode', 'full') = 'full')
"""


@dataclass(frozen=True, slots=True)
class TriggerReport:
    """What was looked at. `reasons` is empty when nothing is due; `drift` is D of the prompt lengths in [0, 1], `None`
    where it cannot be told. `new_interactions` came since the last full turn's window; `mode` is that of the turn that
    is due; `mark` is the transaction that windows meet at; `quiet` says of each trigger that did not fire why not.
    """

    due: bool
    reasons: tuple[str, ...]
    new_interactions: int
    hours_since_last_run: float | None
    drift: float | None
    mode: Mode = "full"
    figures: tuple[Finding, ...] = ()
    quiet: tuple[str, ...] = ()
    mark: str = "0"
    alpha: float = 0.0
    sampled: tuple[int, int] = (0, 0)


def check_triggers(database_url: str, recipe: Recipe, *, now: datetime) -> TriggerReport:
    """Looks at what came in since the last full run of this model that ended, and for small turns since any.

    Raises:
        DatabaseError: PostgreSQL is away.
    """
    sources = list(recipe.sources)
    with connect(database_url) as connection:
        ended = connection.execute(
            f"{_LAST} AND coalesce(recipe ->> 'mode', 'full') = 'full' ORDER BY ended_at DESC LIMIT 2".encode(),
            (recipe.name,),
        ).fetchall()
        mark, ended_at, low = ended[0] if ended else ("0", None, "0")
        mark = mark or "0"
        new = count_rows(connection, sources, mark)
        alpha = _share_level(recipe, [row[1] for row in ended])
        figures, sampled = _compare_windows(connection, recipe, low, mark, new, alpha, now)
        small, small_quiet = _judge_small(connection, recipe, sources, now)
        forgets = _find_erasure_reason(connection, recipe.name)
    hours = None if ended_at is None else (now - ended_at).total_seconds() / 3600
    reasons, quiet = _judge(recipe, new, hours, figures)
    drift = next((figure.value for figure in figures if figure.name == "prompt_length"), None)
    mode: Mode = recipe.mode
    if forgets is not None:
        reasons, mode = [forgets, *reasons], "full"
    elif not reasons and small is not None:
        reasons, mode = [small], "incremental"
    elif small_quiet is not None:
        quiet.append(small_quiet)
    return TriggerReport(
        bool(reasons), tuple(reasons), new, hours, drift, mode, figures, tuple(quiet), mark, alpha, sampled
    )


def _share_level(recipe: Recipe, ended: Sequence[datetime]) -> float:
    """The level that this window may spend, over all its looks and figures."""
    hours = recipe.automation.retrain_after_hours
    if len(ended) > 1:
        hours = min(hours, max(1.0, (ended[0] - ended[1]).total_seconds() / 3600))
    return (1 - recipe.drift.confidence_level) * min(1.0, hours / HOURS_A_YEAR)


def _compare_windows(
    connection: Connection, recipe: Recipe, low: str, mark: str, new: int, alpha: float, now: datetime
) -> tuple[tuple[Finding, ...], tuple[int, int]]:
    sources = list(recipe.sources)
    old = count_rows(connection, sources, low, mark)
    level, now_s = choose_level(old, new), now.timestamp()
    before = read_sample(connection, sources, low, mark, stored=old, level=level, now_s=now_s)
    after = read_sample(connection, sources, mark, stored=new, level=level, now_s=now_s)
    found = find_differences(before, after, recipe.drift, alpha=alpha)
    return found, (len(before.users), len(after.users))


def _judge_small(
    connection: Connection, recipe: Recipe, sources: Sequence[str], now: datetime
) -> tuple[str | None, str | None]:
    """Why a small turn is due, or why not; neither where none is wanted. Turns that were held count as well, or one
    would be tried again every hour.
    """
    small = recipe.automation.incremental
    if not small.enable:
        return None, None
    last = connection.execute(f"{_LAST} ORDER BY ended_at DESC LIMIT 1".encode(), (recipe.name,)).fetchone()
    if last is None:
        return None, "small turn: the first turn is a full one"
    canary = connection.execute(
        "SELECT experiment_id FROM experiments WHERE name = %s AND state = 'running'", (recipe.name,)
    ).fetchone()
    if canary is not None:
        return None, f"small turn: canary {canary[0]} runs, a candidate would have nowhere to go"
    new = count_rows(connection, sources, last[0] or "0")
    hours = (now - last[1]).total_seconds() / 3600
    told = f"small turn: {new:,} interactions since the last turn"
    if new >= small.after_interactions:
        return f"{told}, due from {small.after_interactions:,}", None
    if small.after_hours is None:
        return None, f"{told}, due from {small.after_interactions:,}"
    if hours >= small.after_hours and new >= small.fewest:
        return f"{told} {hours:.0f} h ago, due after {small.after_hours:.0f} h from {small.fewest:,}", None
    due = f"due from {small.after_interactions:,}, or after {small.after_hours:.0f} h from {small.fewest:,}"
    return None, f"{told} {hours:.0f} h ago, {due}"


def _find_erasure_reason(connection: Connection, name: str) -> str | None:
    row = connection.execute(_RETRAIN, (name,)).fetchone()
    if row is None or not row[0]:
        return None
    return f"erasure: versions are tainted since {row[1]:%Y-%m-%d}, only a training from the base forgets"


def _judge(recipe: Recipe, new: int, hours: float | None, figures: Sequence[Finding]) -> tuple[list[str], list[str]]:
    """What makes a full turn due, and why everything else does not."""
    automation, least = recipe.automation, recipe.curation.min_interactions
    reasons: list[str] = []
    quiet: list[str] = []
    volume = f"volume: {new:,} new interactions, due from {automation.retrain_after_interactions:,}"
    (reasons if new >= automation.retrain_after_interactions else quiet).append(volume)
    if hours is None:
        reasons.append(f"first run: {new:,} interactions and no run yet")
    else:
        age = f"age: last run {hours:.0f} h ago, due after {automation.retrain_after_hours:.0f} h"
        (reasons if hours >= automation.retrain_after_hours else quiet).append(age)
        for figure in figures:
            (reasons if figure.fired else quiet).append(f"{_name_cause(figure)}: {figure.said}")
    if new < least:  # a turn would find too little to learn from
        held = [f"{reason} (a turn needs {least:,} interactions)" for reason in reasons]
        return [], [*held, *quiet]
    return reasons, quiet


def _name_cause(figure: Finding) -> str:
    cause = CAUSES.get(figure.name, "drift")
    return f"{cause}: {figure.name}" if figure.said.startswith(UNKNOWN) else cause
