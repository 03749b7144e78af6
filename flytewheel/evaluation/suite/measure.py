"""The share of regression cases that a model passes, and which cases changed sides."""

from __future__ import annotations

from collections.abc import Sequence

from flytewheel.evaluation.asking import Ask, Voice, Weigh
from flytewheel.evaluation.measure import Compare, Heard, Measured, Rows, share
from flytewheel.evaluation.suite.checks import assign_units, check_cases, passes
from flytewheel.records import RegressionCase


class SuiteMeasure:
    """Asks every case of both models. A prompt that does not fit fails.

    Raises:
        EvaluationError: a case is faulty.
    """

    name = "suite"

    def __init__(self, cases: Sequence[RegressionCase]) -> None:
        check_cases(cases)
        self._cases = cases

    def asks(self) -> Sequence[Ask]:
        return [Ask(case.prompt) for case in self._cases]

    def weighs(self) -> Sequence[Weigh]:
        return ()

    def measure(self, heard: Heard, compare: Compare) -> Measured:
        ours, theirs = self._check(heard.candidate), self._check(heard.champion)
        lost = self._differing(theirs, ours)
        topics = [case.topic for case in self._cases]
        rows = Rows(assign_units(self._cases), topics, share(ours), share(theirs))
        return Measured(
            metrics={"regression_pass_rate": rows.compare(compare)},
            rows={"regression_pass_rate": rows},
            counts={"regressions": len(lost)},
            details={"newly_failing": lost, "newly_passing": self._differing(ours, theirs)},
            answers=[
                {
                    "kind": "regression",
                    "id": case.id,
                    "user": case.user,
                    "topic": case.topic,
                    "prompt": case.prompt,
                    "candidate": heard.candidate.say(index),
                    "champion": heard.champion.say(index),
                    "check": case.check,
                    "expected": case.expected,
                    "candidate_passes": ours[index],
                    "champion_passes": theirs[index],
                }
                for index, case in enumerate(self._cases)
            ],
        )

    def _check(self, voice: Voice) -> list[bool]:
        return [
            bool(replies) and passes(case, replies[0].text)
            for case, replies in zip(self._cases, voice.replies, strict=True)
        ]

    def _differing(self, passing: Sequence[bool], failing: Sequence[bool]) -> list[str]:
        """Ids of the cases that pass in the one list and fail in the other."""
        rows = zip(self._cases, passing, failing, strict=True)
        return sorted(case.id for case, first, second in rows if first and not second)
