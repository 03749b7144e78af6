"""What is left of a judgement: its page, its tables in wandb, and a copy of both beside what was measured, under the
run's folder and in the object store (`runs/<run>/evaluation/`).

The evaluation is shown as soon as it is there; the gate writes the page again, with its verdict.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from flytewheel import lineage, runs
from flytewheel.errors import StoreError
from flytewheel.evaluation.evaluate import CODE_VERSION
from flytewheel.evaluation.report import ANSWERS, RESULT, read_answers, read_evaluation
from flytewheel.evaluation_page.page import draw_deck, write_page
from flytewheel.evaluation_page.subject import Subject
from flytewheel.evaluation_page.tables import list_tables
from flytewheel.experiment.planning.desk import foretell
from flytewheel.local.services import Services
from flytewheel.recipe import BaseModelSpec, GateSpec
from flytewheel.records import to_jsonable
from flytewheel.turn import CODE, open_store

FOLDER = "evaluation"
_SHORT = 12
_TABLES = {"evaluate": ("figures", "topics", "answers"), "gate": ("reasons",)}


def keep_judgement(services: Services, station: runs.Station, result: Path, *, gate: GateSpec | None = None) -> str:
    """Keeps the page and the tables of what a station of a run found; returns the page as a deck.

    Args:
        services: where everything is. A store that is away costs a warning: the local copy is whole.
        station: `evaluate`, or `gate` with its verdict as its report.
        result: folder of the evaluation.
        gate: what was asked, where it was decided.
    """
    run = station.run
    reports = runs.read_reports(services.database_url, run.run_id)
    measured = reports.get("evaluate", {}) if gate is not None else station.report
    champion = str(measured.get("judged_against") or "")
    subject = describe(
        result,
        verdict=station.report if gate is not None else None,
        gate=gate or run.recipe.gate,
        candidate=f"{run.name} candidate",
        champion="the bare base" if champion == "base" else f"champion {champion}".strip(),
        base=run.recipe.base,
        run_id=run.run_id,
        reports=reports,
        project=run.recipe.tracking.wandb_project,
        plan=foretell(services.database_url, run.name, run.recipe.ab_testing),
    )
    kept = station.folder / FOLDER
    kept.mkdir(parents=True, exist_ok=True)
    for name in (ANSWERS, RESULT):
        shutil.copyfile(result / name, kept / name)
    write_page(subject, kept)
    try:
        store = open_store(services)
        for file in sorted(path for path in kept.iterdir() if path.is_file()):
            store.put_file(f"runs/{run.run_id}/{FOLDER}/{file.name}", file)
    except StoreError as error:
        print(f"warning: the report of {run.run_id} is not in the object store ({error})", flush=True)
    tables = list_tables(subject)
    for name in _TABLES.get(station.name, ()):
        if name in tables:
            station.tracker.table(name, tables[name].columns, tables[name].rows)
    return draw_deck(subject)


def describe(
    result: Path,
    *,
    verdict: Mapping[str, Any] | None,
    gate: GateSpec,
    candidate: str,
    champion: str,
    base: BaseModelSpec,
    run_id: str = "",
    reports: Mapping[str, Mapping[str, Any]] | None = None,
    project: str = "",
    plan: Sequence[str] = (),
) -> Subject:
    """What a page is about, from the folder of an evaluation.

    Args:
        result: holds `evaluation.json` and `answers.jsonl`.
        verdict: `Verdict` as JSON.
        gate: what is asked of each figure.
        candidate: what the one is called.
        champion: what the other is called.
        base: model that both were trained from.
        run_id: turn that the candidate comes from, if it comes from one.
        reports: of that turn's stations, for its curves.
        project: of wandb.
        plan: what the canary to come can tell.

    Raises:
        EvaluationError: there is no evaluation in the folder.
    """
    found = to_jsonable(read_evaluation(result))
    dataset = str(found["dataset"])[:_SHORT]
    base_name = f"{base.model} @ {base.revision}" if base.revision else base.model
    origin = [
        ("run", run_id),
        ("wandb group", f"{run_id} in project {project}" if run_id and project else run_id),
        ("base model", base_name),
        ("code", f"{lineage.find_commit(CODE)}, evaluation {CODE_VERSION}"),
    ]
    commands = [(f"flytewheel datasets show {dataset}", "what the data set says of itself")] if dataset else []
    if run_id:
        commands.append((f"flytewheel runs show {run_id}", "the whole turn"))
    trainings = {name: report for name, report in (reports or {}).items() if report.get("curve")}
    return Subject(
        evaluation=found,
        answers=read_answers(result),
        verdict=verdict,
        rules={name: rule.model_dump(mode="json") for name, rule in gate.rules.items()},
        candidate=candidate,
        champion=champion,
        trainings=trainings,
        origin=[(name, value) for name, value in origin if value],
        commands=commands,
        plan=plan,
    )
