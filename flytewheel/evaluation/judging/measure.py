"""Pairwise win rate against the champion: the judge is asked about the examples and about pairs that people chose
among, and is believed or not (`calibration`) before its word becomes a figure (`win_rate`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from flytewheel.dataset import Dataset
from flytewheel.evaluation.asking import Ask, Weigh
from flytewheel.evaluation.bootstrap import Comparison
from flytewheel.evaluation.choice import choose
from flytewheel.evaluation.judging.calibration import Agreement, Positions, measure_agreement, measure_positions
from flytewheel.evaluation.judging.judge import Duel, Judge, Opinion, ask_judge, list_duels, turn_pairs
from flytewheel.evaluation.judging.opening import Bench
from flytewheel.evaluation.judging.win_rate import WinRate, measure_wins
from flytewheel.evaluation.measure import Compare, Examples, Heard, Measured
from flytewheel.progress import ProgressCallback
from flytewheel.recipe import JudgeSpec
from flytewheel.records import Preference, to_jsonable


class JudgingMeasure:
    """Asks the models nothing of its own: it reads the examples.

    Args:
        pairs: held-out pairs that people chose among.
        spec: the recipe's rules for judges.
        bench: the judge, if any, and people's labels.
        progress: told the duels judged.
    """

    name = "judging"

    def __init__(
        self,
        pairs: Sequence[Preference],
        spec: JudgeSpec,
        bench: Bench,
        progress: ProgressCallback | None = None,
    ) -> None:
        self._pairs = pairs
        self._spec = spec
        self._bench = bench
        self._progress = progress

    @classmethod
    def of_dataset(
        cls, data: Dataset, spec: JudgeSpec, bench: Bench, seed: int, progress: ProgressCallback | None
    ) -> JudgingMeasure:
        """Takes the pairs from the data set's test part."""
        return cls(choose(data.preferences("test"), spec.max_pairs, seed), spec, bench, progress)

    def asks(self) -> Sequence[Ask]:
        return ()

    def weighs(self) -> Sequence[Weigh]:
        return ()

    def measure(self, heard: Heard, compare: Compare) -> Measured:
        judge, people = self._bench.judge, self._bench.people
        if judge is None and people is None:
            return Measured(notes=self._bench.notes)
        duels = list_duels(heard.examples)
        looked = None if people is None else ask_judge(people, duels)
        judged = None if judge is None else self._ask(judge, duels)
        agreements, positions, doubts = self._weigh_judge(judge, duels, judged, looked, compare)
        found = measure_wins(duels, None if doubts else judged, looked, compare)
        notes = [*self._bench.notes]
        if judge is not None and doubts:
            notes.append(f"{judge.name} abstains: {'; '.join(doubts)}")
        notes += [f"cannot tell the win rate: {found.note}"] if found.note else []
        if found.controlled is not None and found.controlled.note:
            notes.append(found.controlled.note)
        details = {
            "judge": None if judge is None else judge.name,
            "believed": judge is not None and not doubts,
            "agreement": agreements,
            "positions": positions,
            **_describe(duels, judged, looked, found),
        }
        return Measured(
            metrics=_list_metrics(found),
            details=to_jsonable(details),
            notes=tuple(notes),
            answers=_list_answers(heard.examples, duels, judged, looked),
        )

    def _ask(self, judge: Judge, duels: Sequence[Duel]) -> list[Opinion]:
        return ask_judge(judge, duels, self._progress)

    def _weigh_judge(
        self,
        judge: Judge | None,
        duels: Sequence[Duel],
        judged: Sequence[Opinion] | None,
        looked: Sequence[Opinion] | None,
        compare: Compare,
    ) -> tuple[list[Agreement], Positions | None, list[str]]:
        """Holds the judge against people, on held-out pairs and on what they reviewed; says what speaks against it.
        Where no answers differ nothing depends on it, and nothing is asked.
        """
        if judge is None or judged is None or all(duel.same for duel in duels):
            return [], None, []
        turned, preferred = turn_pairs(self._pairs)
        said = self._ask(judge, turned)
        found = [measure_agreement("held-out pairs", turned, said, preferred, compare)]
        seen = [
            (duel, opinion, each.preference)
            for duel, opinion, each in zip(duels, judged, looked or [], strict=False)
            if each.preference is not None and not duel.same
        ]
        if seen:
            reviewed, own, wanted = zip(*seen, strict=True)
            found.append(measure_agreement("reviewed duels", reviewed, own, wanted, compare))
        positions = measure_positions([*judged, *said])
        return found, positions, self._doubt(found, positions)

    def _doubt(self, agreements: Sequence[Agreement], positions: Positions | None) -> list[str]:
        """Why the judge is not believed; nothing: it is."""
        least = self._spec.min_pairs
        told = [each for each in agreements if each.pairs >= least]
        doubts = [doubt for each in told if (doubt := each.explain(self._spec)) is not None]
        if not told:
            most = max((each.pairs for each in agreements), default=0)
            doubts = [f"{most} pairs that people chose among do not tell whether it agrees with them, it takes {least}"]
        if positions is not None and (doubt := positions.explain(self._spec)) is not None:
            doubts.insert(0, doubt)
        return doubts


def _list_metrics(found: WinRate) -> dict[str, Comparison]:
    metrics = {} if found.rate is None else {"win_rate": found.rate}
    if found.controlled is not None:
        metrics["win_rate_length_controlled"] = found.controlled.rate
    return metrics


def _describe(
    duels: Sequence[Duel], judged: Sequence[Opinion] | None, looked: Sequence[Opinion] | None, found: WinRate
) -> dict[str, Any]:
    said = [each.preference for each in (judged if judged is not None else looked or ())]
    return {
        "method": found.method,
        "duels": len(duels),
        "same": sum(duel.same for duel in duels),
        "wins": sum(each is not None and each > 0.5 for each in said),
        "ties": sum(each == 0.5 for each in said),
        "losses": sum(each is not None and each < 0.5 for each in said),
        "no_verdict": sum(each is None for each in said),
        "judge_alone": None if found.judge_alone is None else found.judge_alone.candidate,
        "people_alone": None if found.people_alone is None else found.people_alone.candidate,
        "longer_share": None if found.controlled is None else found.controlled.longer,
        "length_slope": None if found.controlled is None else found.controlled.slope,
    }


def _list_answers(
    examples: Examples, duels: Sequence[Duel], judged: Sequence[Opinion] | None, looked: Sequence[Opinion] | None
) -> list[Mapping[str, Any]]:
    lines: list[Mapping[str, Any]] = []
    for at, (row, duel) in enumerate(zip(examples.rows, duels, strict=True)):
        line: dict[str, Any] = {"kind": "duel", "id": row.id, "user": row.user, "topic": row.topic, "duel": duel.id}
        if judged is not None:
            line |= {"preference": judged[at].preference, "reason": judged[at].reason}
        if looked is not None:
            line["people"] = looked[at].preference
        lines.append(line)
    return lines
