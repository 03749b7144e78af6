"""What a page is about: an evaluation and its verdict as JSON, as a station's report or `evaluation.json` hold them.

JSON and not records, so that a report of an earlier version can be shown too: what it lacks is not shown. A number that
is missing, not finite or no number at all is unknown, never zero.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from flytewheel.evaluation.report import LOWER_IS_BETTER
from flytewheel.records import Interval

NEITHER_IS_BETTER = frozenset({"length_ratio"})
MINUS = "−"
CANNOT_TELL = "cannot tell"

Standing = Literal["better", "worse", "differs", "no difference shown", "cannot tell"]


@dataclass(frozen=True, slots=True)
class Subject:
    """A judgement.

    Attributes:
        evaluation: `Evaluation` as JSON.
        answers: lines of `answers.jsonl`.
        verdict: `Verdict` as JSON; `None` where the gate has not decided.
        rules: what the gate asks of each figure (`GateSpec` as JSON); figures without a rule may be missing or `None`.
        candidate: what the one model is called.
        champion: what the other is called.
        trainings: reports of the candidate's trainings, by station.
        origin: where it all comes from, a fact and its value each.
        commands: a command that shows more, and what it shows.
        plan: what the canary to come can tell, a line each.
    """

    evaluation: Mapping[str, Any]
    answers: Sequence[Mapping[str, Any]] = ()
    verdict: Mapping[str, Any] | None = None
    rules: Mapping[str, Any] = field(default_factory=dict)
    candidate: str = "candidate"
    champion: str = "champion"
    trainings: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    origin: Sequence[tuple[str, str]] = ()
    commands: Sequence[tuple[str, str]] = ()
    plan: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Figure:
    """A figure of both models. `direction`: 1 where more is better, -1 where less is, 0 where neither is."""

    name: str
    candidate: Interval
    champion: Interval
    difference: Interval
    rows: int
    users: int
    direction: int
    rule: Mapping[str, Any]

    @property
    def standing(self) -> Standing:
        """What the interval of the difference shows."""
        return judge_difference(self.difference, self.direction)


def read_figures(subject: Subject) -> list[Figure]:
    """All figures in the order in which they were measured."""
    return [
        Figure(
            name=name,
            candidate=read_interval(found.get("candidate")),
            champion=read_interval(found.get("champion")),
            difference=read_interval(found.get("difference")),
            rows=_whole(found.get("rows")),
            users=_whole(found.get("users")),
            direction=-1 if found.get("lower_is_better") is True else find_direction(name),
            rule=subject.rules.get(name) or {},
        )
        for name, found in (subject.evaluation.get("metrics") or {}).items()
    ]


def find_direction(name: str) -> int:
    """1 where more of a figure is better, -1 where less is, 0 where neither is."""
    return 0 if name in NEITHER_IS_BETTER else -1 if name in LOWER_IS_BETTER else 1


def read_interval(value: Any) -> Interval:
    """The interval in JSON; unknown parts are `None`, and so are ends the wrong way round."""
    if not isinstance(value, Mapping):
        return Interval(None, None, None)
    estimate, low, high = (read_number(value.get(key)) for key in ("estimate", "low", "high"))
    if low is not None and high is not None and low > high:
        low = high = None
    return Interval(estimate, low, high, read_number(value.get("level")) or 0.95)


def read_number(value: Any) -> float | None:
    """The number, or nothing where it is none or not finite."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return float(value)


def judge_difference(difference: Interval, direction: int) -> Standing:
    """`better`, `worse` or (where neither is better) `differs` only where the whole interval is on one side of zero."""
    if not difference.known or difference.low is None or difference.high is None:
        return "cannot tell"
    if difference.low <= 0 <= difference.high:
        return "no difference shown"
    if not direction:
        return "differs"
    return "better" if difference.low * direction > 0 else "worse"


def show_number(value: float | None, *, signed: bool = False) -> str:
    """Three decimals, fewer for large numbers, more for tiny ones; a real minus sign."""
    if value is None:
        return CANNOT_TELL
    size, sign = abs(value), "+" if signed else ""
    if size >= 1e6 or 0 < size < 5e-4:
        text = f"{value:{sign}.2e}"
    else:
        text = f"{value:{sign},.{0 if size >= 1000 else 1 if size >= 100 else 3}f}"
    return text.replace("-", MINUS)


def show_interval(interval: Interval, *, signed: bool = False) -> str:
    """`0.812 [0.770, 0.851]`, or `cannot tell`."""
    if not interval.known:
        return CANNOT_TELL if interval.estimate is None else f"{show_number(interval.estimate, signed=signed)} [?]"
    ends = (show_number(end, signed=signed) for end in (interval.low, interval.high))
    return f"{show_number(interval.estimate, signed=signed)} [{', '.join(ends)}]"


def _whole(value: Any) -> int:
    return int(read_number(value) or 0)
