"""Who stands against whom: a registered version, a folder that training wrote, or the bare base.

All is looked up and checked before anything large is fetched. One evaluation asks both with one base's tokens, so that
versions of different bases cannot be compared, and are refused.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flytewheel import models, release
from flytewheel.errors import BaseModelError, EvaluationError, RecipeError
from flytewheel.evaluation.speakers import kind_of
from flytewheel.local.services import Services
from flytewheel.recipe import BaseModelSpec, Recipe, load_recipe
from flytewheel.records import file_digest
from registry.manifest import Manifest
from registry.versions import Registry

BASE = "base"
VERSIONS = "versions"  # of this machine's home


@dataclass(frozen=True, slots=True)
class Contestant:
    """One of the two. `folder` holds an adapter or full weights; without it and without a manifest: the bare base."""

    name: str
    folder: Path | None = None
    manifest: Manifest | None = None

    @property
    def facts(self) -> dict[str, Any]:
        return self.manifest.facts if self.manifest is not None else {}

    @property
    def dataset(self) -> str:
        """Digest of the data set that it was trained and judged on; empty where nobody knows."""
        return str(self.facts.get("dataset_digest") or "")

    @property
    def run_id(self) -> str:
        """The turn that it comes from; empty where nobody knows."""
        return str(self.facts.get("run_id") or "") if self.facts.get("kind") != BASE else ""


def look_up(text: str, name: str | None, open_registry: Callable[[], Registry]) -> Contestant:
    """Finds what `text` names, without fetching it.

    Args:
        text: `base`, a folder, `NAME:VERSION` or `NAME:ALIAS`, or the second half of it where `name` is given.
        name: the model of bare versions.
        open_registry: called only where a version is looked up.

    Raises:
        EvaluationError: it is none of these, or the folder holds no model.
        RegistryError: there is no such version.
    """
    folder = Path(text)
    if folder.is_dir():
        kind_of(folder)
        return Contestant(text, folder)
    if os.sep in text or text.startswith("."):
        raise EvaluationError(f"{text}: no such folder; name one that training wrote, NAME:VERSION, or base")
    if text == BASE:
        return Contestant("the bare base")
    model, colon, version = text.rpartition(":")
    if not colon:
        model, version = name or "", text
    if not model or not version:
        raise EvaluationError(
            f"{text!r}: expected NAME:VERSION (or NAME:champion), a folder, or base; give --name for bare versions"
        )
    manifest = open_registry().show(model, version)
    return Contestant(f"{model} {manifest.version}", manifest=manifest)


def find_recipe(file: Path | None, sides: Sequence[Contestant]) -> Recipe:
    """The recipe that says base, evaluation and gate: the file, or that of the first version that has one.

    Raises:
        RecipeError: none has, or it cannot be read.
    """
    if file is not None:
        return load_recipe(file)
    for side in sides:
        if side.facts.get("recipe"):
            try:
                return Recipe.model_validate(side.facts["recipe"])
            except RecipeError as error:
                faults = [*error.faults, "name a recipe with --recipe"]
                raise RecipeError(f"the recipe in the manifest of {side.name}", faults) from None
    named = " and ".join(side.name for side in sides)
    raise RecipeError(named, ["no manifest says by which recipe they are to be judged: name one with --recipe"])


def check_bases(sides: Sequence[Contestant], base: BaseModelSpec) -> str:
    """Refuses versions that were trained on another base than `base`; returns the digest of that one.

    Raises:
        EvaluationError: one was.
        BaseModelError: `base` cannot be read.
    """
    digest = models.base_digest(base)
    trained = {side.name: str(side.facts["base_digest"]) for side in sides if side.facts.get("base_digest")}
    if len(set(trained.values())) > 1:
        told = ", ".join(
            f"{side.name} on {side.facts.get('base_model', 'a base')} {trained[side.name][:12]}"
            for side in sides
            if side.name in trained
        )
        raise EvaluationError(
            f"trained on different bases: {told}; figures by token cannot be compared between them: name two versions "
            "of one base"
        )
    for name, found in trained.items():
        if found != digest:
            raise EvaluationError(
                f"{name} was trained on base {found[:12]}, base.model {base.model} of the recipe is {digest[:12]} now: "
                "bring those weights back, or name the recipe that it was trained by (--recipe)"
            )
    return digest


def fetch(side: Contestant, services: Callable[[], Services], base: BaseModelSpec) -> Path | None:
    """The folder of an adapter or of full weights; a version's is brought to `<home>/versions/<name>/<version>`.

    Returns:
        `None` for the bare base.

    Raises:
        RegistryError: a file of the version is missing or corrupt, or it was trained on another base.
        EvaluationError: the version has nothing that was trained in it.
    """
    if side.manifest is None:
        return side.folder
    found, here = side.manifest, services()
    folder = here.home / VERSIONS / found.name / found.version
    fetched = release.fetch_adapter(here, found.name, found.version, folder, base=base)
    if fetched is None and found.facts.get("kind") != BASE:
        raise EvaluationError(f"{side.name}: the version holds no adapter and no weights, only what is served; retrain")
    return fetched


def digest_weights(folder: Path | None, base_digest: str) -> dict[str, str]:
    """What makes a contestant the one that it is: digests of its files; the base's where it is the base."""
    if folder is None:
        return {BASE: base_digest}
    try:
        return {name: file_digest(folder / name) for name in models.trained_files(folder)}
    except BaseModelError as error:
        raise EvaluationError(str(error)) from None
