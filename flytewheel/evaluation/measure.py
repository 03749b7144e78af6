"""What a measure of an evaluation is: it says what both models are to be asked, then reads figures from the answers.

Every measure lies in a room of its own and knows no other; `measures.list_measures` lists them. All that is asked is
asked in one go a model (`asking`), and every figure of the two models is compared on the same resamples of users
(`bootstrap`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from flytewheel.evaluation.asking import Ask, Reply, Voice, Weigh
from flytewheel.evaluation.bootstrap import Comparison, Statistic, compare_by_user, ratio
from flytewheel.records import SftRow


@dataclass(frozen=True, slots=True)
class Examples:
    """The test rows whose prompts both models answered greedily: what everybody who judges answers looks at.

    `reference_tokens` are the lengths of their completions without an end token; empty where nobody counted.
    """

    rows: tuple[SftRow, ...]
    candidate: tuple[Reply, ...]
    champion: tuple[Reply, ...]
    reference_tokens: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Heard:
    """What a measure may read: the examples, and what both models made of its own questions, in its own order.

    `base` holds what the bare base made of the questions that are `of_base`, and is the very voice of candidate or
    champion where that *is* the bare base.
    """

    examples: Examples
    candidate: Voice
    champion: Voice
    base: Voice


@dataclass(frozen=True, slots=True)
class Compare:
    """Compares two columns of figures on resamples of users; see `bootstrap.compare_by_user`."""

    samples: int
    level: float
    seed: int

    def __call__(self, units: Sequence[str], ours: Any, theirs: Any, *, statistic: Statistic = ratio) -> Comparison:
        """`ours`, `theirs`: (rows, columns) figures that may be summed."""
        return compare_by_user(
            units,
            np.asarray(ours, dtype=np.float64),
            np.asarray(theirs, dtype=np.float64),
            statistic,
            samples=self.samples,
            level=self.level,
            seed=self.seed,
        )


@dataclass(frozen=True, slots=True)
class Rows:
    """What a figure is made of, row by row, so that it can be looked at topic by topic (`topics`).

    `users` and `topics` (rows,), `candidate` and `champion` (rows, columns) figures that may be summed, as `Compare`
    takes them.
    """

    users: Sequence[str]
    topics: Sequence[str]
    candidate: NDArray[np.float64]
    champion: NDArray[np.float64]
    statistic: Statistic = ratio

    def compare(self, compare: Compare) -> Comparison:
        """The figure over all topics."""
        return compare(self.users, self.candidate, self.champion, statistic=self.statistic)


@dataclass(frozen=True, slots=True)
class Measured:
    """What a measure found.

    Attributes:
        metrics: figures with intervals, by name (`report.METRICS`).
        counts: whole numbers about the candidate alone, such as `regressions`; `None`: cannot be told.
        details: JSON-like, for the report and for reasons; kept under the measure's name.
        notes: sentences that a reader of the verdict has to know, such as why a judge abstains.
        answers: lines of `answers.jsonl`, each with a `kind`.
        rows: what figures are made of, by the figure's name, of those that are to be looked at by topic.
    """

    metrics: Mapping[str, Comparison] = field(default_factory=dict)
    counts: Mapping[str, float | None] = field(default_factory=dict)
    details: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    answers: Sequence[Mapping[str, Any]] = ()
    rows: Mapping[str, Rows] = field(default_factory=dict)


class Measure(Protocol):
    """One part of an evaluation."""

    @property
    def name(self) -> str: ...

    def asks(self) -> Sequence[Ask]:
        """Prompts that both models are to answer."""
        ...

    def weighs(self) -> Sequence[Weigh]:
        """Completions whose log-probability both models are to say."""
        ...

    def measure(self, heard: Heard, compare: Compare) -> Measured:
        """Reads the figures."""
        ...


def share(values: Any) -> NDArray[np.float64]:
    """Figures of rows (rows,) as columns (rows, 2) whose `ratio` is their mean."""
    column = np.asarray(values, dtype=np.float64)
    return np.stack([column, np.ones_like(column)], axis=1)
