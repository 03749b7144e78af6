"""The arrows from data set to adapter: supervised fine-tuning, then alignment to preferences.

Both keep their checkpoints in the home of this machine, named by data and recipe: a task that is tried again, or a
run that is started again after a kill, goes on from the newest complete one.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from flytekit import Deck, task
from flytekit.types.directory import FlyteDirectory

from flytewheel import decks
from flytewheel.curation.pii import redact_conversations
from flytewheel.local.services import Services
from flytewheel.recipe import BaseModelSpec, RlhfSpec, TrainingSpec
from flytewheel.records import to_jsonable
from flytewheel.runs import Station, run_station
from flytewheel.training import align as alignment
from flytewheel.training import sft
from flytewheel.training.checkpoints import CODE_VERSION
from flytewheel.training.workplace import Workplace
from images import trainer
from tasks import DECK, LARGE, LONG, SECRETS
from tasks.folders import HashedDirectory, new_folder
from tasks.services import connect

TRAINING: dict[str, Any] = {
    "container_image": trainer,
    "requests": LARGE,
    "retries": 3,
    "timeout": LONG,
    "interruptible": True,
    "secret_requests": SECRETS,
    "cache": True,
    "cache_version": CODE_VERSION,
    "cache_ignore_input_vars": ("run_id",),
    **DECK,
}


@task(**TRAINING)
def train_sft(
    run_id: str, dataset: HashedDirectory, base: BaseModelSpec, training: TrainingSpec, seed: int
) -> HashedDirectory:
    services = connect()
    with run_station(services.database_url, services.home, run_id, "train_sft") as station:
        out = new_folder("sft")
        report = sft.train_sft(
            Path(dataset.download()),
            out,
            base=base,
            training=training,
            seed=seed,
            at=_workplace(services, station),
            redact=redact_conversations,
        )
        station.report = to_jsonable(report)
        if report.truncation:
            print(f"  {report.truncation}", flush=True)
        Deck("training", station.show(decks.describe("train_sft", station.report)))
        return FlyteDirectory(str(out))


@task(**TRAINING)
def align(
    run_id: str,
    dataset: HashedDirectory,
    sft_adapter: HashedDirectory,
    base: BaseModelSpec,
    training: TrainingSpec,
    rlhf: RlhfSpec,
    seed: int,
) -> HashedDirectory:
    services = connect()
    with run_station(services.database_url, services.home, run_id, "align") as station:
        out = new_folder("aligned")
        report = alignment.align(
            Path(dataset.download()),
            Path(sft_adapter.download()),
            out,
            base=base,
            training=training,
            rlhf=rlhf,
            seed=seed,
            at=_workplace(services, station),
            redact=redact_conversations,
        )
        station.report = to_jsonable(report)
        if report.truncation:
            print(f"  {report.truncation}", flush=True)
        Deck("training", station.show(decks.describe("align", station.report)))
        return FlyteDirectory(str(out))


def _workplace(services: Services, station: Station) -> Workplace:
    return Workplace(services.home / "checkpoints", tracker=station.tracker, progress=station.progress)
