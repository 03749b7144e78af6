"""The share of regression cases that a model passes, and which cases it lost or won against the champion.

A *regression* is a case that the champion does not fail and on which the candidate is worse (`statistics`); a case that
is muted is judged like any other and told, but counts in no figure. Cases whose prompts training keeps away from make
`regression_pass_rate`; those whose prompts were trained or tuned on, what must not be forgotten,
`kept_corrections_rate`. Both count among the regressions.

The unit that is resampled is the user whose case it is. Hand-written cases have no user (their owner is "suite"): each
stands for itself, as do all cases when a single user owns them, since one unit says nothing about its own spread.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from flytewheel.errors import EvaluationError, SuiteError
from flytewheel.evaluation.asking import Ask, Voice, Weigh
from flytewheel.evaluation.measure import Compare, Heard, Measured, Rows, share
from flytewheel.evaluation.suite.statistics import Outcome, bound_share, find_worse, judge_share
from flytewheel.records import RegressionCase, digest
from flytewheel.suite.cases import SUITE
from flytewheel.suite.checks import Tally, check_case, count_passes

_ORDER = {"written": 0, "rollback": 1, "review": 2, "correction": 3}


class SuiteMeasure:
    """Asks every case of both models. A prompt that does not fit fails.

    Args:
        held_out: Cases whose prompts training keeps away from.
        kept: Cases whose prompts were trained or tuned on.
        limit: The most cases that are asked; all hand-written ones are.
        mutes: Why cases do not count for now, by id.

    Raises:
        EvaluationError: a case is faulty.
    """

    name = "suite"

    def __init__(
        self,
        held_out: Sequence[RegressionCase],
        kept: Sequence[RegressionCase] = (),
        *,
        limit: int | None = None,
        mutes: Mapping[str, str] | None = None,
    ) -> None:
        try:
            for case in (*held_out, *kept):
                check_case(case)
        except SuiteError as error:
            raise EvaluationError(str(error)) from None
        whole = len(held_out) + len(kept)
        chosen = choose_cases([*held_out, *kept], limit)
        self._cases = [case for case in (*held_out, *kept) if case.id in chosen]
        self._held_out = {case.id for case in held_out}
        self._left_out = whole - len(self._cases)
        self._mutes = {case.id: mutes[case.id] for case in self._cases if case.id in mutes} if mutes else {}

    def asks(self) -> Sequence[Ask]:
        return [Ask(case.prompt, samples=case.samples, temperature=case.temperature) for case in self._cases]

    def weighs(self) -> Sequence[Weigh]:
        return ()

    def measure(self, heard: Heard, compare: Compare) -> Measured:
        ours, theirs = self._check(heard.candidate), self._check(heard.champion)
        outcomes = [self._judge(ours), self._judge(theirs)]
        lost = self._find(ours, theirs, outcomes[1])
        won = self._find(theirs, ours, outcomes[0])
        counted = [case for case in self._cases if case.id not in self._mutes]
        held_out = [case.id in self._held_out for case in self._cases]
        rows = {"regression_pass_rate": self._gather(ours, theirs, held_out)}
        if not all(held_out):
            kept = [not held for held in held_out]
            rows["kept_corrections_rate"] = self._gather(ours, theirs, kept)
        unmuted = sorted(lost - set(self._mutes))
        muted = sorted(lost & set(self._mutes))
        return Measured(
            metrics={name: own.compare(compare) for name, own in rows.items()},
            rows=rows,
            counts={"regressions": len(unmuted)},
            details={
                "newly_failing": unmuted,
                "newly_passing": sorted(won - set(self._mutes)),
                "muted_regressions": muted,
                "muted": [{"id": name, "reason": why} for name, why in sorted(self._mutes.items())],
                "asked": len(self._cases),
                "counted": len(counted),
                "left_out": self._left_out,
                "cases": [self._describe(*one) for one in zip(self._cases, ours, theirs, *outcomes, strict=True)],
            },
            notes=self._list_notes(muted, ours, theirs),
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
                    "candidate_passes": outcomes[0][index] is Outcome.PASSES,
                    "champion_passes": outcomes[1][index] is Outcome.PASSES,
                    "candidate_passed": ours[index].passed,
                    "champion_passed": theirs[index].passed,
                    "samples": case.samples,
                }
                for index, case in enumerate(self._cases)
            ],
        )

    def _check(self, voice: Voice) -> list[Tally]:
        """Tallies of all cases; where there is no reply all samples have failed."""
        return [
            count_passes(case, [reply.text for reply in replies]) if replies else Tally(0, case.samples)
            for case, replies in zip(self._cases, voice.replies, strict=True)
        ]

    def _judge(self, tallies: Sequence[Tally]) -> list[Outcome]:
        return [
            judge_share(tally.passed, tally.samples, case.min_pass_rate)
            for case, tally in zip(self._cases, tallies, strict=True)
        ]

    def _find(self, losing: Sequence[Tally], winning: Sequence[Tally], winners: Sequence[Outcome]) -> set[str]:
        """Ids of the cases that the one does not fail and on which the other is worse."""
        first, second = ([(each.passed, each.samples) for each in side] for side in (losing, winning))
        worse = find_worse(first, second)
        rows = zip(self._cases, worse, winners, strict=True)
        return {case.id for case, is_worse, winner in rows if is_worse and winner is not Outcome.FAILS}

    def _gather(self, ours: Sequence[Tally], theirs: Sequence[Tally], wanted: Sequence[bool]) -> Rows:
        places = [n for n, case in enumerate(self._cases) if wanted[n] and case.id not in self._mutes]
        cases = [self._cases[place] for place in places]
        shares = (share([side[place].share for place in places]) for side in (ours, theirs))
        return Rows(assign_units(cases), [case.topic for case in cases], *shares)

    def _describe(
        self, case: RegressionCase, ours: Tally, theirs: Tally, outcome: Outcome, before: Outcome
    ) -> dict[str, Any]:
        low, high = bound_share(ours.passed, ours.samples)
        return {
            "id": case.id,
            "check": case.check,
            "origin": case.origin,
            "topic": case.topic,
            "held_out": case.id in self._held_out,
            "outcome": outcome.value,
            "passed": ours.passed,
            "samples": ours.samples,
            "bounds": [low, high] if ours.samples > 1 else None,
            "champion": before.value,
            "champion_passed": theirs.passed,
            "overdue": ours.overdue or theirs.overdue,
        }

    def _list_notes(self, muted: Sequence[str], ours: Sequence[Tally], theirs: Sequence[Tally]) -> tuple[str, ...]:
        notes = [f"muted: regression case {name} fails now; {self._mutes[name]}" for name in muted]
        slow = [
            case.id for case, *pair in zip(self._cases, ours, theirs, strict=True) if any(one.overdue for one in pair)
        ]
        if slow:
            notes.append(
                f"regression cases whose patterns took too long, and count as failed: {', '.join(slow[:5])}"
                f"{f' and {len(slow) - 5} more' if len(slow) > 5 else ''}; rewrite the patterns"
            )
        if self._left_out:
            notes.append(
                f"{self._left_out:,} of {self._left_out + len(self._cases):,} regression cases were not asked, "
                "more than evaluation.max_suite_cases"
            )
        return tuple(notes)


def choose_cases(cases: Sequence[RegressionCase], limit: int | None) -> set[str]:
    """Ids of the cases that are asked: all written ones, then those of rollbacks and reviews, then corrections, of each
    kind those with the lowest digest: the same ones in every evaluation.
    """
    if limit is None or len(cases) <= limit:
        return {case.id for case in cases}
    ranked = sorted(cases, key=lambda case: (_ORDER[case.origin], digest(case.id)))
    written = sum(case.origin == "written" for case in cases)
    return {case.id for case in ranked[: max(limit, written)]}


def assign_units(cases: Sequence[RegressionCase]) -> list[str]:
    """The unit that each case belongs to when resampling."""
    if len({case.user for case in cases}) == 1:
        return [f"case:{case.id}" for case in cases]
    return [f"case:{case.id}" if case.user == SUITE else f"user:{case.user}" for case in cases]
