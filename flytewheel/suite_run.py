"""Which model and which cases `flytewheel suite run` is about: a version with its run's recipe, or a folder."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from flytewheel import runs
from flytewheel.errors import SuiteError
from flytewheel.evaluation.suite.ask import Answered, ask_cases, resample
from flytewheel.local.services import Services
from flytewheel.progress import ProgressCallback
from flytewheel.recipe import Recipe, load_recipe
from flytewheel.records import RegressionCase
from flytewheel.release import fetch_adapter
from flytewheel.signed_registry import open_registry
from flytewheel.suite.cases import read_cases
from flytewheel.suite.checks import check_case
from flytewheel.suite.mutes import read_mutes
from flytewheel.suite.store import list_kept, note_outcomes
from flytewheel.turn import locate_cases
from registry.manifest import parse_version

ALIASES = ("champion", "challenger")
_RUNS = 1_000


def run_suite(
    services: Services,
    name: str,
    model: str,
    *,
    ids: Sequence[str] = (),
    samples: int | None = None,
    temperature: float | None = None,
    recipe: Path | None = None,
    now: datetime,
    progress: ProgressCallback | None = None,
) -> tuple[list[Answered], str]:
    """Asks a model the cases of the suite of `name`, those of its recipe's file among them.

    Args:
        services: where everything is.
        name: of the model.
        model: a version, an alias, or a folder with an adapter or full weights.
        ids: only these cases; none: all.
        samples: answers drawn of every sampled case.
        temperature: draws every case at it.
        recipe: names base and evaluation; none: that of the run that made the version, or of the newest run.
        now: current time, for mutes.
        progress: told the answers given.

    Returns:
        What it made of each, and what the model is called. Outcomes are kept for registered versions that were asked
        as the cases want it.

    Raises:
        SuiteError: no such case, no case at all, or no recipe to go by.
        RegistryError, StoreError, DatabaseError, BaseModelError, EvaluationError: see there.
    """
    folder = None if parse_version(model) or model in ALIASES else Path(model)
    if folder is not None and not folder.is_dir() and len(folder.parts) > 1:
        raise SuiteError(
            f"{model}: no such folder; expected one that training wrote, a version, challenger or champion"
        )
    version = ""
    if folder is None or not folder.is_dir():
        version = open_registry(services).show(name, model).version
    given = load_recipe(recipe) if recipe is not None else _find_recipe(services, name, version)
    cases = [
        resample(case, samples, temperature) if samples or temperature else case
        for case in gather_cases(services.database_url, name, given, ids)
    ]
    for case in cases:
        check_case(case)
    with tempfile.TemporaryDirectory(prefix="flytewheel-suite-") as scratch:
        if version:
            folder = fetch_adapter(services, name, version, Path(scratch), base=given.base)
        answered = ask_cases(
            folder,
            cases,
            base=given.base,
            evaluation=given.evaluation,
            seed=given.seed,
            mutes=read_mutes(services.database_url, name, now),
            progress=progress,
        )
    if version and not samples and not temperature:
        note_outcomes(services.database_url, name, version, [one.to_json() for one in answered])
    return answered, f"{name} {version}" if version else str(folder)


def gather_cases(database_url: str, name: str, recipe: Recipe, ids: Sequence[str] = ()) -> list[RegressionCase]:
    """The cases of the recipe's file and the stored ones that count, by id; of two alike the file's.

    Raises:
        SuiteError: an id is unknown, or there is no case.
    """
    path = locate_cases(recipe.curation).regression_cases
    cases = {one.case.id: one.case for one in list_kept(database_url, name) if one.counts}
    cases |= {case.id: case for case in read_cases(Path(path))} if path else {}
    if unknown := sorted(set(ids) - set(cases)):
        raise SuiteError(f"no case {unknown[0]!r} in the suite of {name}; see `flytewheel suite list {name}`")
    if not cases:
        raise SuiteError(f"the suite of {name} is empty: add a case with `flytewheel suite add {name} …`")
    return [cases[case_id] for case_id in sorted(ids or cases)]


def _find_recipe(services: Services, name: str, version: str) -> Recipe:
    """The recipe of the run that made the version, else of the newest run of the model."""
    run_id = open_registry(services).show(name, version).facts.get("run_id") if version else None
    found = [run for run in runs.list_runs(services.database_url, limit=_RUNS) if run.name == name]
    run = next((run for run in found if run.run_id == run_id), found[0] if found else None)
    if run is None:
        raise SuiteError(f"no run of {name} is known here that says which base to take: name it with --recipe")
    return run.recipe
