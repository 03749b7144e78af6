"""The arrows from adapter to verdict: the candidate is measured against the champion, then the gate decides."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from flytekit import Deck, task
from flytekit.types.directory import FlyteDirectory

from flytewheel import decks, release, turn
from flytewheel.evaluation import evaluate as evaluation
from flytewheel.evaluation import gate as gating
from flytewheel.evaluation.report import RESULT
from flytewheel.recipe import BaseModelSpec, EvaluationSpec, GateSpec
from flytewheel.records import to_jsonable
from flytewheel.runs import run_station
from images import core, trainer
from tasks import DECK, LARGE, LONG, SECRETS, SHORT, SMALL
from tasks.folders import HashedDirectory, new_folder
from tasks.services import connect


class Judged(NamedTuple):
    """A decision (`promote_to_canary`, `hold`, `reject` or `not_yet`) with what it is about."""

    decision: str
    dataset: FlyteDirectory
    candidate: FlyteDirectory


@task(
    container_image=trainer,
    requests=LARGE,
    retries=2,
    timeout=LONG,
    secret_requests=SECRETS,
    cache=True,
    cache_version=evaluation.CODE_VERSION,
    cache_ignore_input_vars=("run_id",),
    **DECK,
)
def evaluate(
    run_id: str,
    name: str,
    champion: str,
    dataset: HashedDirectory,
    candidate: HashedDirectory,
    base: BaseModelSpec,
    spec: EvaluationSpec,
    seed: int,
) -> HashedDirectory:
    services = connect()
    with run_station(services.database_url, services.home, run_id, "evaluate") as station:
        out = new_folder("evaluation")
        result = evaluation.evaluate(
            Path(dataset.download()),
            out,
            candidate=Path(candidate.download()),
            champion=release.fetch_adapter(services, name, champion, new_folder("champion"), base=base),
            base=base,
            evaluation=turn.locate_probes(spec),
            seed=seed,
            progress=station.progress,
        )
        station.report = to_jsonable(result)
        figures = {name: metric["candidate"]["estimate"] for name, metric in station.report["metrics"].items()}
        station.tracker.artifact("evaluation", {RESULT: (out / RESULT).read_text("utf-8")}, figures)
        Deck("evaluation", station.show(decks.describe("evaluate", station.report)))
        return FlyteDirectory(str(out))


@task(container_image=core, requests=SMALL, retries=2, timeout=SHORT, secret_requests=SECRETS, **DECK)
def gate(
    run_id: str, spec: GateSpec, dataset: FlyteDirectory, candidate: FlyteDirectory, result: FlyteDirectory
) -> Judged:
    services = connect()
    with run_station(services.database_url, services.home, run_id, "gate") as station:
        verdict = gating.decide(evaluation.read_evaluation(Path(result.download())), spec)
        station.report = to_jsonable(verdict)
        Deck("verdict", station.show(decks.describe("gate", station.report)))
        return Judged(decision=verdict.decision.value, dataset=dataset, candidate=candidate)
