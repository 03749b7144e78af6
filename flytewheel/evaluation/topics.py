"""On which topics a candidate is clearly worse, or better, than the champion, whatever it is on average.

Within a topic users are few and levels extreme, so an interval is not taken from resamples: the jackknife over users
gives the standard error of any figure of summed columns, and Student's t with users - 1 degrees of freedom its width
(Efron and Stein 1981, "The Jackknife Estimate of Variance", The Annals of Statistics 9(3)). Every pair of topic and
figure is one claim, so each interval stands at 1 - (1 - level) / pairs (Bonferroni): all of them hold together at the
evaluation's level. Pairs with fewer users than such a claim takes (`rules.least_users`) are not told and not counted;
that choice looks at users alone, never at figures. Two equal models were called worse on some topic in 0.7 % of
simulated evaluations, over 8 to 20 topics of three figures (tests/evaluation/test_topics.py).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flytewheel.evaluation.bootstrap import student_quantile, sum_by_unit
from flytewheel.evaluation.measure import Compare, Measured, Rows
from flytewheel.evaluation.report import LOWER_IS_BETTER
from flytewheel.evaluation.rules import least_users
from flytewheel.recipe import TopicsSpec
from flytewheel.records import Interval, to_jsonable


@dataclass(frozen=True, slots=True)
class Part:
    """The rows of one figure about one topic: sums by user, (users, columns), of both models."""

    topic: str
    figure: str
    rows: Rows
    count: int
    ours: NDArray[np.float64]
    theirs: NDArray[np.float64]

    @property
    def users(self) -> int:
        return len(self.ours)


def compare_topics(rows: Iterable[Mapping[str, Rows]], compare: Compare, spec: TopicsSpec) -> Measured:
    """Compares both models topic by topic.

    Args:
        rows: What the measures' figures are made of, by the figure's name.
        compare: Its level is that of all intervals together.
        spec: The margin, and how few users a topic may have.

    Returns:
        The count `worse_topics`, unknown without rows and where a figure is not a finite number; as details `rows`, a
        line for each topic and figure, and `too_few`, the topics of which nothing can be told, which would take
        `least_users` (that many are enough for all of them).
    """
    parts = [part for figures in rows for name, each in figures.items() for part in _split(name, each)]
    parts = _leave_out_unmeasured(parts)
    told, least = choose_told(parts, 1 - compare.level, spec.min_users)
    level = 1 - (1 - compare.level) / max(1, told)
    lines = [_judge(part, level, spec.margin, told=part.users >= least) for part in parts]
    lines.sort(key=lambda line: (line["topic"], line["figure"]))
    unknown = any(part.users >= least and not _is_finite(part) for part in parts)
    worse = {line["topic"] for line in lines if line["verdict"] == "worse"}
    enough = {part.topic for part in parts if part.users >= least}
    return Measured(
        counts={"worse_topics": None if unknown or not parts else len(worse)},
        details={
            "rows": lines,
            "too_few": sorted({part.topic for part in parts} - enough),
            "least_users": max(spec.min_users, least_users(1 - (1 - compare.level) / max(1, len(parts)))),
            "margin": spec.margin,
        },
    )


def choose_told(parts: Sequence[Part], error: float, min_users: int) -> tuple[int, int]:
    """How many parts have enough users for claims that are all right at once but for `error`, and how many that takes.

    The fewer claims there are, the fewer users each takes: as many parts are told as can be, the largest ones.
    """
    for users in sorted({part.users for part in parts if part.users >= min_users}):
        told = sum(part.users >= users for part in parts)
        if users >= least_users(1 - error / told):
            return told, users
    return 0, max(min_users, least_users(1 - error), 1 + max((part.users for part in parts), default=0))


def jackknife(part: Part, level: float) -> Interval:
    """The difference of both models in a part, candidate minus champion, with its interval at `level`."""
    estimate = _difference(part, part.ours.sum(axis=0), part.theirs.sum(axis=0))
    without = _difference(part, part.ours.sum(axis=0) - part.ours, part.theirs.sum(axis=0) - part.theirs)
    users = part.users
    if users < 2 or not (np.isfinite(estimate).all() and np.isfinite(without).all()):
        return Interval(_read(estimate), None, None, level)
    error = float(np.sqrt((users - 1) / users * np.square(without - without.mean()).sum()))
    reach = student_quantile(1 - (1 - level) / 2, users - 1) * error
    return Interval(float(estimate), float(estimate) - reach, float(estimate) + reach, level)


def _split(figure: str, rows: Rows) -> Iterator[Part]:
    topics, users = np.asarray(rows.topics, dtype=object), np.asarray(rows.users, dtype=object)
    for topic in sorted(set(rows.topics)):
        here = topics == topic
        units = list(users[here])
        names = sorted(set(units))
        ours, theirs = (sum_by_unit(units, names, side[here]) for side in (rows.candidate, rows.champion))
        yield Part(topic, figure, rows, len(units), ours, theirs)


def _leave_out_unmeasured(parts: Sequence[Part]) -> list[Part]:
    """Without the figures that are a number nowhere, such as those of a judge that abstains."""
    known = {part.figure for part in parts if _is_finite(part)}
    return [part for part in parts if part.figure in known]


def _is_finite(part: Part) -> bool:
    return bool(np.isfinite(_difference(part, part.ours.sum(axis=0), part.theirs.sum(axis=0))))


def _difference(part: Part, ours: NDArray[np.float64], theirs: NDArray[np.float64]) -> NDArray[np.float64]:
    with np.errstate(invalid="ignore"):
        return np.asarray(part.rows.statistic(ours) - part.rows.statistic(theirs))


def _judge(part: Part, level: float, margin: float, *, told: bool) -> dict[str, Any]:
    candidate, champion = (_read(part.rows.statistic(side.sum(axis=0))) for side in (part.ours, part.theirs))
    spread = jackknife(part, level)
    if not told or champion is None:
        spread = Interval(spread.estimate, None, None, level)
    verdict = "cannot tell"
    if spread.low is not None and spread.high is not None and champion is not None:
        low, high = (-spread.high, -spread.low) if part.figure in LOWER_IS_BETTER else (spread.low, spread.high)
        verdict = "worse" if high < -margin * abs(champion) else "better" if low > 0 else verdict
    return {
        "topic": part.topic,
        "figure": part.figure,
        "candidate": candidate,
        "champion": champion,
        "difference": to_jsonable(spread),
        "rows": part.count,
        "users": part.users,
        "verdict": verdict,
    }


def _read(figure: NDArray[np.float64]) -> float | None:
    return float(figure) if np.isfinite(figure) else None
