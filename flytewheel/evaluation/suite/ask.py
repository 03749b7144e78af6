"""Asks the cases of one model alone, outside an evaluation: what `flytewheel suite run` shows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from flytewheel import models
from flytewheel.evaluation.asking import Ask, Questionnaire
from flytewheel.evaluation.generate import find_end_tokens
from flytewheel.evaluation.speakers import Speakers
from flytewheel.evaluation.suite.statistics import Outcome, judge_share
from flytewheel.progress import ProgressCallback, quiet_libraries
from flytewheel.recipe import BaseModelSpec, EvaluationSpec
from flytewheel.records import RegressionCase
from flytewheel.suite.checks import Tally, count_passes, passes


@dataclass(frozen=True, slots=True)
class Answered:
    """What a model made of one case. `said` is empty where the prompt does not fit, `muted` is why it does
    not count.
    """

    case: RegressionCase
    outcome: Outcome
    tally: Tally
    said: tuple[str, ...]
    muted: str | None = None

    @property
    def counts_as_failed(self) -> bool:
        return self.outcome is Outcome.FAILS and self.muted is None

    def show(self) -> str:
        """An answer to look at: one that fails, where there is one."""
        if not self.said:
            return "(the prompt is longer than the model's room)"
        return next((text for text in self.said if not _passes(self.case, text)), self.said[0])

    def to_json(self) -> dict[str, Any]:
        return {
            "id": self.case.id,
            "check": self.case.check,
            "expected": self.case.expected,
            "origin": self.case.origin,
            "outcome": self.outcome.value,
            "passed": self.tally.passed,
            "samples": self.tally.samples,
            "min_pass_rate": self.case.min_pass_rate,
            "muted": self.muted,
            "said": self.said,
        }


def resample(case: RegressionCase, samples: int | None, temperature: float | None) -> RegressionCase:
    """The case drawn so often, so hot. Greedy cases stay greedy unless a temperature is given."""
    heat = case.temperature if temperature is None else temperature
    if not heat:
        return replace(case, samples=1, temperature=0.0)
    return replace(case, samples=samples or max(case.samples, 2), temperature=heat)


def ask_cases(
    folder: Path | None,
    cases: Sequence[RegressionCase],
    *,
    base: BaseModelSpec,
    evaluation: EvaluationSpec,
    seed: int,
    mutes: Mapping[str, str],
    progress: ProgressCallback | None = None,
) -> list[Answered]:
    """Lets one model answer every case, in the order given, and checks what it said.

    Args:
        folder: An adapter or full weights; none is the bare base.
        cases: Checked cases.
        base: The model that it was trained from.
        evaluation: How long answers are, how many at a time.
        seed: Decides what is drawn; the draws are those of an evaluation with this seed.
        mutes: Why cases do not count for now, by id.
        progress: Told the answers given.

    Raises:
        BaseModelError: the base cannot be loaded.
        EvaluationError: what was trained does not fit the base.
    """
    speakers = Speakers(base, {"candidate": folder}, models.find_device())
    with quiet_libraries():
        tokenizer: Any = models.load_tokenizer(base)
    questions = Questionnaire(tokenizer, speakers.model.config, base, evaluation, seed=seed)
    questions.add("suite", [Ask(case.prompt, samples=case.samples, temperature=case.temperature) for case in cases], ())
    with speakers.speaking("candidate") as model:
        voice = questions.hear(model, find_end_tokens(speakers.model, tokenizer), "candidate", progress)["suite"]
    answered = []
    for case, replies in zip(cases, voice.replies, strict=True):
        said = tuple(reply.text for reply in replies)
        tally = count_passes(case, said) if said else Tally(0, case.samples)
        outcome = judge_share(tally.passed, tally.samples, case.min_pass_rate)
        answered.append(Answered(case, outcome, tally, said, mutes.get(case.id)))
    return answered


def _passes(case: RegressionCase, text: str) -> bool:
    try:
        return passes(case, text)
    except TimeoutError:
        return False
