"""Precision and recall of the groundedness detector on answers labelled by hand, and CPU time a text.

The held-out half decides; the development half, which rules were tuned on, stands beside it. A found span is right when
it overlaps a labelled one, a labelled one is found when something overlaps it; Wilson intervals at 95 %. On the bundled
log the simulator's own rule is the oracle: an answer whose command or channel is another service's must be found.
"""

from __future__ import annotations

import gzip
import json
import math
import random
import re
import sys
import time
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

from benchmarks import Goal, report
from benchmarks.groundedness_cases import Case, read_cases
from flytewheel.evaluation.groundedness.spans import KINDS
from flytewheel.evaluation.groundedness.support import check
from flytewheel.pocket.facts import TAUGHT, Fact, build_world, write_answer
from flytewheel.pocket.users import Question, draw_questions, find_faults

PRECISION, RECALL = 0.9, 0.9
CPU_MS = 20.0  # an answer of some 50 characters with its context of some 330; 7 measured beside other work


@dataclass
class Score:
    """Counts of one kind."""

    found: int = 0
    right: int = 0
    labelled: int = 0
    hit: int = 0

    @property
    def precision(self) -> float:
        return self.right / self.found if self.found else math.nan

    @property
    def recall(self) -> float:
        return self.hit / self.labelled if self.labelled else math.nan

    @property
    def f1(self) -> float:
        both = self.precision + self.recall
        return 2 * self.precision * self.recall / both if both else 0.0


def measure(quick: bool) -> list[Goal]:
    """Both halves, the simulated log, and time."""
    goals = []
    for half in ("development", "heldout"):
        cases = list(read_cases(half))
        scores = judge(cases, tell=half == "development" and "-v" in sys.argv)
        print(f"{half}: {len(cases)} answers, {scores['all'].labelled} unsupported spans")
        for kind, score in scores.items():
            print(
                f"  {kind:<11} precision {describe(score.right, score.found)}  "
                f"recall {describe(score.hit, score.labelled)}  F1 {score.f1:.3f}"
            )
        if half == "heldout":
            goals += [
                Goal("precision, held out", scores["all"].precision, PRECISION, at_most=False),
                Goal("recall, held out", scores["all"].recall, RECALL, at_most=False),
                Goal("CPU ms an answer", measure_time(cases), CPU_MS),
            ]
    return [*goals, *measure_simulated(400 if quick else 4000), *measure_log(500 if quick else 5000)]


def judge(cases: list[Case], *, tell: bool = False) -> dict[str, Score]:
    """Scores by kind (found: the detector's, labelled: the label's), and over all."""
    scores: dict[str, Score] = defaultdict(Score, {kind: Score() for kind in KINDS})
    for case in cases:
        found = check(case.answer, case.context).unsupported
        for span in found:
            right = any(span.start < end and start < span.end for _, start, end in case.planted)
            for name in (span.kind, "all"):
                scores[name].found += 1
                scores[name].right += right
            if tell and not right:
                print(f"  false: {span.kind} {span.text!r} in {case.answer!r}")
        for kind, start, end in case.planted:
            hit = any(span.start < end and start < span.end for span in found)
            for name in (kind, "all"):
                scores[name].labelled += 1
                scores[name].hit += hit
            if tell and not hit:
                print(f"  missed: {kind} {case.answer[start:end]!r} in {case.answer!r}")
    return dict(scores)


def describe(part: int, whole: int) -> str:
    """A share with its Wilson interval at 95 %."""
    low, high = wilson(part, whole)
    return f"{part / whole if whole else math.nan:.3f} [{low:.3f}, {high:.3f}] ({part}/{whole})"


def wilson(part: int, whole: int, z: float = 1.959964) -> tuple[float, float]:
    """Wilson 1927's interval of a share."""
    if not whole:
        return 0.0, 1.0
    share = part / whole
    middle = (share + z * z / (2 * whole)) / (1 + z * z / whole)
    half = z * math.sqrt(share * (1 - share) / whole + z * z / (4 * whole * whole)) / (1 + z * z / whole)
    return max(0.0, middle - half), min(1.0, middle + half)


def measure_time(cases: list[Case]) -> float:
    """CPU milliseconds an answer, its context read each time."""
    begun = time.process_time()
    for case in cases:
        check(case.answer, case.context)
    return (time.process_time() - begun) / len(cases) * 1e3


def measure_simulated(count: int) -> list[Goal]:
    """Answers of the on-call world: right ones, and ones with another service's command and channel."""
    chance, world = random.Random(7), build_world()
    clean = missed = wrong = 0
    for question in draw_questions(count, seed=11):
        fact = question.fact
        context = (question.context, question.query)
        right = write_answer(fact, TAUGHT, chance)
        clean += bool(check(right, context).unsupported)
        other = chance.choice([one for one in world if one.service.team != fact.service.team])
        for answer in (
            right.replace(fact.command, other.command),
            right.replace(fact.service.channel, other.service.channel),
        ):
            if set(find_faults(question, answer)) & {"command", "channel"}:
                wrong += 1
                missed += not check(answer, context).unsupported
    print(f"simulated: {count} right answers, {clean} with a span found; {wrong} wrong ones, {missed} missed")
    return [
        Goal("right simulated answers with a span found, share", clean / count, 0.0),
        Goal("wrong simulated answers missed, share", missed / max(1, wrong), 0.0),
    ]


def measure_log(count: int) -> list[Goal]:
    """The bundled log's answers: what the simulated people hold against command and channel, the detector must see.

    An answer that is cut off inside a command says nothing foreign; there is one in the log, hence the bound.
    """
    world = {(fact.service.name, fact.symptom.name): fact for fact in build_world()}
    lines = gzip.decompress((Path(__file__).parents[1] / "examples" / "interactions.jsonl.gz").read_bytes())
    sound = alarmed = faulty = missed = 0
    for line in lines.decode().splitlines()[:count]:
        try:
            told = json.loads(line)
        except ValueError:  # the log holds broken lines on purpose
            continue
        if not isinstance(told, dict) or not all(isinstance(told.get(key), str) for key in ("query", "context")):
            continue
        fact = _find_fact(world, told["context"], told["query"])
        if fact is None:
            continue
        question = Question(told["user_id"], told["query"], told["context"], fact.topic, fact)
        found = bool(check(told["response"], (told["context"], told["query"])).unsupported)
        wrong = _is_wrong(question, told["response"])
        faulty += wrong
        missed += wrong and not found
        sound += not wrong
        alarmed += found and not wrong
    print(
        f"log: {faulty} answers with a foreign command or channel, {missed} missed; {sound} without, {alarmed} alarms"
    )
    return [
        Goal("faulty answers of the log missed, share", missed / max(1, faulty), 0.01),
        Goal("alarms on sound answers of the log, share", alarmed / max(1, sound), 0.02),
    ]


def _find_fact(world: dict[tuple[str, str], Fact], context: str, query: str) -> Fact | None:
    named = [fact for (service, symptom), fact in world.items() if service in query and symptom in query.lower()]
    return next((fact for fact in named if fact.command in context), None)


def _is_wrong(question: Question, answer: str) -> bool:
    """Whether an answer names a channel or runs a command that is not the fact's; one that names none is not wrong."""
    faults = find_faults(question, answer)
    fact = question.fact
    channels = {word.strip(".,;:`") for word in answer.split() if word.startswith("#")}
    foreign = bool(channels - {fact.service.channel})
    program = re.search(r"\b[a-z]+ctl [a-z]+-?[a-z]*", answer)
    return foreign or ("command" in faults and program is not None)


if __name__ == "__main__":
    sys.exit(report(measure, __doc__.splitlines()[0]))
