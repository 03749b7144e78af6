"""Judges two models on a data set, and leaves the evaluation, the verdict and the page in a folder.

The folder is named by the content of all that decides the figures: both models, the base, the data set, the recipe's
section `evaluation`, its seed, the muted cases and this code. So the same contest is not held twice, and one that was
killed is held again. The gate's rules are not part of the name: they are cheap, and are applied anew each time.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from flytewheel import judgement, runs
from flytewheel.contest.contestants import Contestant, check_bases, digest_weights, fetch
from flytewheel.contest.overlap import refuse_overlap
from flytewheel.dataset import Dataset
from flytewheel.errors import DatasetError, EvaluationError
from flytewheel.evaluation import evaluate as evaluation
from flytewheel.evaluation import gate as gating
from flytewheel.evaluation.report import RESULT, Evaluation
from flytewheel.evaluation_page.page import write_page
from flytewheel.local.services import Services
from flytewheel.planning.rows import find_dataset
from flytewheel.progress import ProgressCallback
from flytewheel.recipe import Recipe
from flytewheel.records import Verdict, digest, to_jsonable
from flytewheel.shelf import find_folder
from flytewheel.turn import fetch_dataset

EVALUATIONS = "evaluations"  # of this machine's home
CONTEST, VERDICT = "contest.json", "verdict.json"
_SHORT = 16


@dataclass(frozen=True, slots=True)
class Outcome:
    """What was found. `resumed`: the figures were there already. `page` is the report's file. `unknown`: what could not
    be looked at for rows that were trained on.
    """

    evaluation: Evaluation
    verdict: Verdict
    folder: Path
    page: Path
    digest: str
    resumed: bool
    unknown: tuple[str, ...] = ()


def choose_dataset(
    name: str | None, sides: tuple[Contestant, Contestant], recipe: Recipe, services: Callable[[], Services]
) -> Path:
    """The folder of the data set to judge on: the one that is named, else the one that the first version was judged on,
    else the second's, else the newest of the recipe's feedback.

    Raises:
        DatasetError: there is none.
    """
    folder = find_folder(name) if name is not None else None
    if folder is not None:
        return folder
    if name is not None:
        return find_dataset(recipe, name, services())
    for side in sides:
        if side.dataset:
            try:
                return fetch_dataset(services(), side.dataset)
            except DatasetError as error:
                raise DatasetError(
                    f"{side.name} was judged on data set {side.dataset[:12]}, which cannot be had ({error}): name "
                    "another with --dataset"
                ) from None
    return find_dataset(recipe, None, services())


def hold_contest(
    sides: tuple[Contestant, Contestant],
    dataset: Path,
    recipe: Recipe,
    *,
    home: Path,
    out: Path | None,
    services: Callable[[], Services],
    mutes: Mapping[str, str] | None = None,
    progress: ProgressCallback | None = None,
) -> Outcome:
    """Judges the first of `sides` as the candidate and the second as the champion.

    Args:
        sides: who.
        dataset: folder of a data set; its test part is read.
        recipe: base, evaluation, gate and seed.
        home: of this machine.
        out: where to; `None`: `<home>/evaluations/<digest>`.
        services: opened only where a version has to be fetched.
        mutes: why regression cases do not count for now, by id.
        progress: told the rows done.

    Raises:
        EvaluationError: they cannot be compared, what judges was trained on, or `out` holds something else.
        DatasetError, RegistryError, StoreError: what is needed is not there.
    """
    base_digest = check_bases(sides, recipe.base)
    data = Dataset(dataset)
    unknown = refuse_overlap(data, sides, services)
    folders = [fetch(side, services, recipe.base) for side in sides]
    held = {
        "candidate": digest_weights(folders[0], base_digest),
        "champion": digest_weights(folders[1], base_digest),
        "base": base_digest,
        "max_length": recipe.base.max_length,
        "dataset": [data.card.digest, data.card.content_digest],
        "evaluation": to_jsonable(recipe.evaluation),
        "seed": recipe.seed,
        "mutes": dict(mutes or {}),
        "code": evaluation.CODE_VERSION,
    }
    name = digest(held)
    folder = out or home / EVALUATIONS / name[:_SHORT]
    _claim(folder, name, held)
    resumed = (folder / RESULT).is_file()
    if resumed:
        found = evaluation.read_evaluation(folder)
    else:
        found = evaluation.evaluate(
            dataset,
            folder,
            candidate=folders[0],
            champion=folders[1],
            base=recipe.base,
            evaluation=recipe.evaluation,
            seed=recipe.seed,
            mutes=mutes,
            progress=progress,
            cache=home / "judge",
        )
    verdict = gating.decide(found, recipe.gate)
    (folder / VERDICT).write_text(json.dumps(to_jsonable(verdict), indent=1, ensure_ascii=False) + "\n", "utf-8")
    page = _write_page(folder, sides, verdict, recipe, services, unknown)
    return Outcome(found, verdict, folder, page, name, resumed, tuple(unknown))


def _claim(folder: Path, name: str, held: Mapping[str, Any]) -> None:
    """Takes a folder for this contest, or refuses one that holds anything else."""
    file = folder / CONTEST
    if file.is_file():
        try:
            known = json.loads(file.read_text(encoding="utf-8")).get("digest")
        except (ValueError, AttributeError):
            known = None
        if known != name:
            raise EvaluationError(
                f"{folder}: holds another evaluation ({str(known)[:12]}, this one is {name[:12]}); name another folder "
                "with --out"
            )
        return
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise EvaluationError(f"{folder}: expected a new or empty folder; name another one with --out")
    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps({"digest": name, **held}, indent=1, sort_keys=True)
    file.write_text(text + "\n", encoding="utf-8")


def _write_page(
    folder: Path,
    sides: tuple[Contestant, Contestant],
    verdict: Verdict,
    recipe: Recipe,
    services: Callable[[], Services],
    unknown: Sequence[str],
) -> Path:
    run_id = sides[0].run_id
    reports = runs.read_reports(services().database_url, run_id) if run_id else {}
    subject = judgement.describe(
        folder,
        verdict=to_jsonable(verdict),
        gate=recipe.gate,
        candidate=sides[0].name,
        champion=sides[1].name if sides[1].name != sides[0].name else f"{sides[1].name} itself",
        base=recipe.base,
        run_id=run_id,
        reports=reports,
        project=recipe.tracking.wandb_project if run_id else "",
    )
    told = [("overlap with training", "; ".join(unknown) or "none")]
    return write_page(replace(subject, origin=[*subject.origin, *told]), folder)
