"""The arrows from data set to adapter: supervised fine-tuning, a reward model, then alignment to preferences.

All keep their checkpoints in the home of this machine, named by data and recipe, and copy them to the object store: a
task that is tried again, on another machine too, or a run that is started again after a kill, goes on from the newest
complete one. The budget is an input of those that it counts for, so that a training that was stopped early is not taken
from Flyte's cache where there is more time; SFT's adapter brings along how long it took.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from flytekit import Deck, task
from flytekit.types.directory import FlyteDirectory

from flytewheel import decks
from flytewheel.pii import redact_conversations
from flytewheel.recipe import BaseModelSpec, BudgetSpec, RewardSpec, RlhfSpec, TrainingSpec
from flytewheel.records import to_jsonable
from flytewheel.runs import Station, run_station
from flytewheel.software import list_packages
from flytewheel.training import align as alignment
from flytewheel.training import reward as reward_training
from flytewheel.training import sft
from flytewheel.training.checkpoints import CODE_VERSION
from flytewheel.training.processes import find_processes
from flytewheel.training.report import TrainingReport
from flytewheel.training.start import read_start
from flytewheel.training.workplace import Workplace
from flytewheel.turn_training import follow_workplace, open_workplace
from images import DOMAIN, trainer
from tasks import LARGE, LARGE_DECK, LONG, SECRETS
from tasks.elastic import RecipeElastic
from tasks.folders import HashedDirectory, new_folder
from tasks.services import connect, name_fresh_start

TRAINING: dict[str, Any] = {
    "task_config": RecipeElastic(),
    "container_image": trainer,
    "requests": LARGE,
    "retries": DOMAIN.training_retries,
    "timeout": LONG,
    "interruptible": DOMAIN.interruptible,
    "secret_requests": SECRETS,
    "cache": True,
    "cache_version": CODE_VERSION,
    "cache_ignore_input_vars": ("run_id",),
    **LARGE_DECK,
}


@task(**TRAINING)
def train_sft(
    run_id: str,
    dataset: HashedDirectory,
    start: HashedDirectory,
    base: BaseModelSpec,
    training: TrainingSpec,
    budget: BudgetSpec,
    seed: int,
) -> HashedDirectory:
    """Supervised fine-tuning of an adapter on what people liked; goes on from its newest checkpoint.

    Args:
        run_id: the turn, as `open_turn` named it.
        dataset: the curated data set.
        start: the adapter to go on from; empty in a turn from the base.
        base: the base model.
        training: the recipe's training: adapter, learning rate, machines.
        budget: how long a training may take.
        seed: decides every draw.

    Returns:
        The adapter.
    """
    with _at_work(run_id, "train_sft") as (station, at):
        out = new_folder("sft")
        report = sft.train_sft(
            Path(dataset.download()),
            out,
            base=base,
            training=training,
            seed=seed,
            at=at,
            redact=redact_conversations,
            budget=budget,
            start=read_start(Path(start.download())),
        )
        _tell(station, "train_sft", report)
        return FlyteDirectory(str(out))


@task(**TRAINING)
def train_reward(
    run_id: str,
    dataset: HashedDirectory,
    base: BaseModelSpec,
    training: TrainingSpec,
    reward: RewardSpec,
    rlhf: RlhfSpec,
    seed: int,
) -> HashedDirectory:
    """Trains a reward model on preference pairs, where the recipe wants one.

    Args:
        run_id: the turn, as `open_turn` named it.
        dataset: the curated data set.
        base: the base model.
        training: the recipe's training: adapter, learning rate, machines.
        reward: the recipe's reward model.
        rlhf: the recipe's alignment: method, β, how many pairs it needs.
        seed: decides every draw.

    Returns:
        The reward model; empty where it was skipped.
    """
    with _at_work(run_id, "train_reward") as (station, at):
        out = new_folder("reward")
        report = reward_training.train_reward(
            Path(dataset.download()),
            out,
            base=base,
            training=training,
            reward=reward,
            rlhf=rlhf,
            seed=seed,
            at=at,
            redact=redact_conversations,
        )
        _tell(station, "train_reward", report)
        return FlyteDirectory(str(out))


@task(**TRAINING)
def align(
    run_id: str,
    dataset: HashedDirectory,
    sft_adapter: HashedDirectory,
    reward_model: HashedDirectory,
    start: HashedDirectory,
    base: BaseModelSpec,
    training: TrainingSpec,
    rlhf: RlhfSpec,
    budget: BudgetSpec,
    seed: int,
) -> HashedDirectory:
    """Preference optimisation of the adapter (DPO, KTO, ORPO or GRPO); goes on from its newest checkpoint.

    Args:
        run_id: the turn, as `open_turn` named it.
        dataset: the curated data set.
        sft_adapter: what supervised fine-tuning left.
        reward_model: what scores answers; empty where none was trained.
        start: the adapter to go on from; empty in a turn from the base.
        base: the base model.
        training: the recipe's training: adapter, learning rate, machines.
        rlhf: the recipe's alignment: method, β, how many pairs it needs.
        budget: how long a training may take.
        seed: decides every draw.

    Returns:
        The candidate's adapter.
    """
    with _at_work(run_id, "align") as (station, at):
        out = new_folder("aligned")
        report = alignment.align(
            Path(dataset.download()),
            Path(sft_adapter.download()),
            out,
            base=base,
            training=training,
            rlhf=rlhf,
            seed=seed,
            at=at,
            reward_model=Path(reward_model.download()),
            redact=redact_conversations,
            budget=budget,
            start=read_start(Path(start.download())),
        )
        _tell(station, "align", report)
        return FlyteDirectory(str(out))


@contextmanager
def _at_work(run_id: str, name: str) -> Iterator[tuple[Station | None, Workplace]]:
    """The station, which the first of the processes that train together keeps (`None` for the others), and where each
    of them is at work.
    """
    services = connect()
    if not find_processes().first:
        yield None, follow_workplace(services)
        return
    with run_station(services.database_url, services.home, run_id, name) as station:
        yield station, open_workplace(services, station, fresh=name_fresh_start())


def _tell(station: Station | None, name: str, report: TrainingReport) -> None:
    if station is None:
        return
    station.report = {**to_jsonable(report), "packages": list_packages()}
    if report.truncation:
        print(f"  {report.truncation}", flush=True)
    Deck("training", station.show(decks.describe(name, station.report)))
