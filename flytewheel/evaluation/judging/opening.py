"""Which judge the recipe asks for, and whether it can be had; faults are told before a model is loaded.

`auto` is the reward model where the turn trained one, else nobody. A judge that was asked for by name and cannot be had
leaves the win rate unknown, with the reason, so that a gate that asks for it holds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from flytewheel.evaluation.judging.endpoint_judge import EndpointJudge
from flytewheel.evaluation.judging.judge import Judge
from flytewheel.evaluation.judging.people import PeopleJudge
from flytewheel.evaluation.judging.reward_judge import RewardJudge, find_reward_model
from flytewheel.recipe import BaseModelSpec, JudgeSpec
from flytewheel.records import ReviewLabel


@dataclass(frozen=True, slots=True)
class Bench:
    """Who sits there: a judge, people, both, or nobody; `notes` say who was asked for and is missing."""

    judge: Judge | None = None
    people: PeopleJudge | None = None
    notes: tuple[str, ...] = ()


def open_bench(
    spec: JudgeSpec,
    *,
    base: BaseModelSpec,
    reward_model: Path | None = None,
    labels: Sequence[ReviewLabel] = (),
    cache: Path | None = None,
) -> Bench:
    """Opens the recipe's judge.

    Args:
        spec: which one.
        base: what the reward model was trained on.
        reward_model: what `train_reward` left; a folder with a report alone where it was skipped.
        labels: what people said of these very duels.
        cache: folder of an endpoint's kept verdicts.

    Raises:
        BaseModelError: the reward model is not of this base, or must not be loaded.
        EndpointError: the endpoint's key is not set.
    """
    if spec.kind == "none":
        return Bench()
    people = PeopleJudge(labels) if labels else None
    if spec.kind == "people":
        return Bench(people=people, notes=() if people else ("no win rate: people have labelled none of these duels",))
    if spec.kind == "endpoint":
        if spec.endpoint is None:
            raise AssertionError("the recipe's kind endpoint has one")
        return Bench(EndpointJudge(spec.endpoint, cache=cache), people)
    folder, reason = find_reward_model(reward_model)
    if folder is not None:
        return Bench(RewardJudge(base, folder, tie_margin=spec.tie_margin), people)
    notes = (f"no win rate by the reward model: {reason}",) if spec.kind == "reward_model" else ()
    return Bench(people=people, notes=notes)
