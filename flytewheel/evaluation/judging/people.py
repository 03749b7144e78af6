"""People as a judge: what reviewers said of a duel, blind.

Of several reviewers of one duel the mean counts; a reviewer who looked twice is taken at the last word. A duel nobody
looked at has no verdict.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from flytewheel.errors import EvaluationError
from flytewheel.evaluation.judging.judge import TIE, Duel, Opinion
from flytewheel.progress import ProgressCallback
from flytewheel.records import ReviewLabel

_PREFERENCE = {"ours": 1.0, "tie": TIE, "theirs": 0.0}


class PeopleJudge:
    """Looks up labels. `ours` of a label is the candidate of this very comparison.

    Raises:
        EvaluationError: a label prefers something else.
    """

    name = "people"

    def __init__(self, labels: Iterable[ReviewLabel]) -> None:
        found: dict[str, dict[str, float]] = {}
        for label in labels:
            if label.preferred not in _PREFERENCE:
                raise EvaluationError(
                    f"label of duel {label.duel_id[:12]}: expected ours, theirs or tie, got {label.preferred!r}; "
                    "correct the label, or leave it out"
                )
            found.setdefault(label.duel_id, {})[label.reviewer] = _PREFERENCE[label.preferred]
        self._said = found

    def __len__(self) -> int:
        return len(self._said)

    def judge(self, duels: Sequence[Duel], progress: ProgressCallback | None = None) -> list[Opinion]:
        return [self._look_up(duel) for duel in duels]

    def _look_up(self, duel: Duel) -> Opinion:
        said = self._said.get(duel.id)
        if not said:
            return Opinion(None, "no reviewer looked at it")
        return Opinion(sum(said.values()) / len(said), f"{len(said)} reviewers" if len(said) > 1 else "one reviewer")
