"""Where a turn begins: at the base, or, where the recipe wants a small turn and one is possible, at the champion.

A small turn goes on from the champion's adapter with the rows that came in since the champion's own window ended. It
needs a champion with an adapter of the recipe's shape on the same base, learnt from the same streams, whose window is
known here. And nothing that the champion, or a champion before it that it went on from, learnt from may have been
erased since: weights keep what they have seen, so after an erasure only a training from the base forgets. Where any of
this fails the turn is a full one and says why; the schedule goes on.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flytewheel import models, runs
from flytewheel.erasures import find_erased
from flytewheel.errors import DatasetError
from flytewheel.recipe import Recipe
from flytewheel.training.fit import digest_adapter
from flytewheel.training.start import Start, keep_earlier, write_start
from registry.manifest import Manifest
from registry.taints import read_taint
from registry.versions import Registry

Fetch = Callable[[str], Path]


@dataclass(frozen=True, slots=True)
class Beginning:
    """How a turn is run: the recipe that counts, and in words why so (empty: nobody asked for a small turn).

    `version` is the champion that a small turn goes on from (empty: a full turn), `since` the transaction that its own
    window ended at, and `replay` its data set.
    """

    recipe: Recipe
    reason: str = ""
    version: str = ""
    since: str | None = None
    replay: str | None = None

    def to_json(self) -> dict[str, Any]:
        """What the run keeps of it."""
        return {"mode": self.recipe.mode, "started_from": self.version, "reason": self.reason}


def choose_beginning(
    recipe: Recipe, champion: str, folder: Path, *, registry: Registry, database_url: str, fetch: Fetch
) -> Beginning:
    """Decides where a turn begins, and leaves the adapter to go on from in `folder` (`training.start`).

    Args:
        recipe: as it was given.
        champion: the version that serves; empty: the bare base does.
        folder: gets the adapter, or the note that there is none.
        registry: holds the champion.
        database_url: PostgreSQL, with the runs and all feedback.
        fetch: brings a data set from the object store, by its digest.

    Raises:
        BaseModelError: the base cannot be read.
        RegistryError: the champion's files are missing or do not match their digests.
        DatabaseError, StoreError: a service is away.
    """
    if folder.exists():
        shutil.rmtree(folder)  # of an attempt before
    write_start(folder)
    if recipe.mode == "full":
        return Beginning(recipe)
    manifest = registry.show(recipe.name, champion) if champion else None
    base_digest = models.base_digest(recipe.base)
    window = None if manifest is None else runs.read_window(database_url, str(manifest.facts.get("run_id")))
    against = (
        _object_to_champion(recipe, manifest, base_digest)
        or _object_to_window(recipe, champion, window)
        or _object_to_adapter(recipe, champion, _bring_adapter(registry, recipe.name, champion, folder))
        or _object_to_taints(registry, recipe.name, champion)
        or _object_to_erasures(registry, recipe.name, champion, database_url, fetch)
    )
    if against is not None:
        shutil.rmtree(folder)
        write_start(folder)
        return Beginning(recipe.in_mode("full"), f"full instead of incremental: {against}")
    assert manifest is not None  # or it would have been objected to
    assert window is not None
    replay = str(manifest.facts["dataset_digest"])
    start = Start(
        folder=folder / "adapter",
        version=champion,
        adapter=digest_adapter(folder / "adapter"),
        base=base_digest,
        tolerance=recipe.automation.incremental.tolerance,
        share=recipe.curation.replay_share,
        earlier=keep_earlier(fetch(replay), folder),
    )
    write_start(folder, start)
    return Beginning(recipe.settle(), f"incremental: on from {champion}", champion, window["high_xid"], replay)


def _object_to_champion(recipe: Recipe, manifest: Manifest | None, base_digest: str) -> str | None:
    if manifest is None:
        return "no version is champion yet"
    if not any(path.startswith(("adapter/", "weights/")) for path in manifest.files):
        return f"the champion {manifest.version} is the bare base"
    if not any(path.startswith("adapter/") for path in manifest.files):
        return f"the champion {manifest.version} has full weights, not an adapter"
    if recipe.training.adapter == "full":
        return "training.adapter is 'full': there is no adapter to go on from"
    trained_on = str(manifest.facts.get("base_digest"))
    if trained_on != base_digest:
        return f"the champion {manifest.version} sits on the base {trained_on[:12]}, base.model is {base_digest[:12]}"
    return None


def _object_to_window(recipe: Recipe, champion: str, window: Mapping[str, Any] | None) -> str | None:
    if window is None or "high_xid" not in window:
        return f"the run that made the champion {champion} is not in this database: where its data ended is not known"
    learnt, wanted = sorted(window.get("sources", ())), sorted(set(recipe.sources))
    if learnt != wanted:
        return f"the champion {champion} learnt from {', '.join(learnt)}, the recipe names {', '.join(wanted)}"
    return None


def _bring_adapter(registry: Registry, name: str, champion: str, folder: Path) -> Path:
    """The champion's adapter; the registry holds its bytes against their digests."""
    files = [path for path in registry.show(name, champion).files if path.startswith("adapter/")]
    registry.download(name, champion, folder, only=files)
    return folder / "adapter"


def _object_to_adapter(recipe: Recipe, champion: str, adapter: Path) -> str | None:
    config = json.loads((adapter / "adapter_config.json").read_text(encoding="utf-8"))
    training = recipe.training
    for what, theirs, ours in (
        ("rank", config.get("r"), training.lora_rank),
        ("alpha", config.get("lora_alpha"), training.lora_alpha),
        ("target modules", sorted(config.get("target_modules") or ()), sorted(set(training.target_modules))),
    ):
        if theirs != ours:
            return f"the adapter of the champion {champion} has {what} {_tell(theirs)}, the recipe {_tell(ours)}"
    return None


def _object_to_taints(registry: Registry, name: str, champion: str) -> str | None:
    for version, _ in _list_learnt(registry, name, champion):
        tainted = read_taint(registry.store, name, version)
        if tainted is not None:
            when = f"{tainted.marks[-1].at:%Y-%m-%d}"
            return f"rows that {version} learnt from were erased on {when}, and only the base has not seen them"
    return None


def _object_to_erasures(registry: Registry, name: str, champion: str, database_url: str, fetch: Fetch) -> str | None:
    for version, digest in _list_learnt(registry, name, champion):
        try:
            erased = find_erased(database_url, fetch(digest))
        except DatasetError as error:
            return f"whether rows that {version} learnt from were erased cannot be told ({error})"
        if erased:
            return f"{erased} that {version} learnt from were erased since, and only the base has not seen them"
    return None


def _list_learnt(registry: Registry, name: str, champion: str) -> Iterator[tuple[str, str]]:
    """Each version whose rows are in the champion's weights, with its data set, back to one trained from the base."""
    version = champion
    while version:
        facts = registry.show(name, version).facts
        yield version, str(facts["dataset_digest"])
        version = str(facts.get("started_from", ""))


def _tell(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
