"""The arrows from adapter to verdict: the candidate is measured against the champion, then the gate decides."""

from __future__ import annotations

import secrets
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from flytekit import Deck, task
from flytekit.types.directory import FlyteDirectory

from flytewheel import judgement, overrides, release, turn, turn_suite
from flytewheel.evaluation import evaluate as evaluation
from flytewheel.evaluation import gate as gating
from flytewheel.evaluation.report import ANSWERS, RESULT
from flytewheel.recipe import BaseModelSpec, EvaluationSpec, GateSpec
from flytewheel.records import read_jsonl, to_jsonable
from flytewheel.review.labels import labels_of_run
from flytewheel.review.store import open_review
from flytewheel.runs import run_station
from images import core, trainer
from tasks import DECK, LARGE, LARGE_DECK, LONG, PLAIN, SECRETS, SHORT, SMALL
from tasks.folders import HashedDirectory, new_folder
from tasks.services import connect


class Judged(NamedTuple):
    """A decision (`promote_to_canary`, `hold`, `reject` or `not_yet`) with what it is about."""

    decision: str
    dataset: FlyteDirectory
    candidate: FlyteDirectory


@task(container_image=core, requests=SMALL, retries=2, timeout=SHORT, secret_requests=SECRETS, **PLAIN)
def read_mutes(name: str, candidate: FlyteDirectory) -> dict[str, str]:
    """Reads which regression cases people muted. Never cached, and an input of the evaluation: a case that is muted
    afterwards is judged anew. It waits for the candidate, since what counts is what is muted then.

    Args:
        name: the model's name.
        candidate: the adapter that is judged.

    Returns:
        The reason by case.
    """
    return turn_suite.list_muted(connect().database_url, name, datetime.now(UTC))


@task(
    container_image=trainer,
    requests=LARGE,
    retries=2,
    timeout=LONG,
    secret_requests=SECRETS,
    cache=True,
    cache_version=evaluation.CODE_VERSION,
    cache_ignore_input_vars=("run_id",),
    **LARGE_DECK,
)
def evaluate(
    run_id: str,
    name: str,
    champion: str,
    dataset: HashedDirectory,
    candidate: HashedDirectory,
    reward_model: HashedDirectory,
    base: BaseModelSpec,
    spec: EvaluationSpec,
    seed: int,
    mutes: dict[str, str],
) -> HashedDirectory:
    """Measures the candidate against the champion on held-out data, suites and safety probes, with intervals.

    Args:
        run_id: the turn, as `open_turn` named it.
        name: the model's name.
        champion: version in service; empty where it is the bare base.
        dataset: the curated data set.
        candidate: the adapter that is judged.
        reward_model: what scores answers; empty where none was trained.
        base: the base model.
        spec: the recipe's section for this station.
        seed: decides every draw.
        mutes: regression cases that a person muted, with the reason.

    Returns:
        The evaluation's folder.
    """
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
            mutes=mutes,
            progress=station.progress,
            reward_model=Path(reward_model.download()),
            labels=labels_of_run(services.database_url, run_id),
            cache=services.home / "judge",
        )
        open_review(
            services.database_url,
            run_id,
            read_jsonl(out / ANSWERS),
            name=name,
            system=base.system_prompt,
            spec=spec.review,
            salt=secrets.token_hex(16),
        )
        station.report = {**to_jsonable(result), "judged_against": champion or "base"}
        turn_suite.note_evaluation(services.database_url, station.run, result.details)
        figures = {name: metric["candidate"]["estimate"] for name, metric in station.report["metrics"].items()}
        station.tracker.artifact("evaluation", {RESULT: (out / RESULT).read_text("utf-8")}, figures)
        Deck("evaluation", station.show(judgement.keep_judgement(services, station, out)))
        return FlyteDirectory(str(out))


@task(container_image=core, requests=SMALL, retries=2, timeout=SHORT, secret_requests=SECRETS, **DECK)
def gate(
    run_id: str, spec: GateSpec, dataset: FlyteDirectory, candidate: FlyteDirectory, result: FlyteDirectory
) -> Judged:
    """Decides whether the candidate may go to people, with every reason.

    Args:
        run_id: the turn, as `open_turn` named it.
        spec: the recipe's section for this station.
        dataset: the curated data set.
        candidate: the adapter that is judged.
        result: the evaluation's folder.

    Returns:
        The decision, with what it is about.
    """
    services = connect()
    with run_station(services.database_url, services.home, run_id, "gate") as station:
        folder = Path(result.download())
        judged = evaluation.read_evaluation(folder)
        own = gating.decide(judged, spec)
        said = overrides.read_overrides(services.database_url, run_id)
        verdict, override = overrides.overrule(own, judged.candidate, said)
        noted = {"verdict": own.decision, "candidate": judged.candidate, "override": override}
        station.report = to_jsonable(verdict) | to_jsonable(noted)
        Deck("verdict", station.show(judgement.keep_judgement(services, station, folder, gate=spec)))
        return Judged(decision=verdict.decision.value, dataset=dataset, candidate=candidate)
