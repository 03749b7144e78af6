"""The commands `flytewheel checkpoints …`: what trainings left behind, whose it is, how far it came."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from flytewheel.terminal import as_json, open_services, print_table, say

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from registry.store import ObjectStore

_DIGITS = 12
_in_store = click.option(
    "--store", "in_store", is_flag=True, help="Those in the object store instead of those on this machine."
)


@click.group()
def checkpoints() -> None:
    """Checkpoints of trainings: list, remove."""


@checkpoints.command("list")
@_in_store
@as_json
def checkpoints_list(in_store: bool, json_: bool) -> None:
    """List the checkpoint directories: whose they are, what was trained on, and the steps to go on from."""
    found = _list_stored(_open_store()) if in_store else _list_local(_root())

    def text() -> None:
        rows = [
            (
                fact["name"],
                fact["model"],
                fact["state"],
                ", ".join(map(str, fact["steps"])),
                fact["run"],
                f"{fact['size_bytes'] / 1e6:,.1f} MB",
            )
            for fact in found
        ]
        print_table(("checkpoints", "model", "state", "complete steps", "run", "size"), rows)

    say(found, json_, text)


@checkpoints.command("remove")
@click.argument("name")
@_in_store
def checkpoints_remove(name: str, in_store: bool) -> None:
    """Remove the checkpoint directory NAME, as `list` names it. A training that is at work is left alone."""
    from flytewheel.errors import CheckpointError
    from flytewheel.training.lock import lock_folder
    from flytewheel.training.uploads import list_copies

    where = "the object store" if in_store else str(_root())
    unknown = CheckpointError(f"no checkpoints {name!r} in {where}: see `flytewheel checkpoints list`")
    if in_store:
        known = {stored.name: stored for stored, _ in list_copies(_open_store())}
        if name not in known:
            raise unknown
        known[name].clear()
    else:
        if name not in {fact["name"] for fact in _list_local(_root())}:
            raise unknown
        with lock_folder(_root() / name):
            shutil.rmtree(_root() / name)
    click.echo(f"removed {name} from {where}")


def _root() -> Path:
    from flytewheel.settings import read_settings
    from flytewheel.turn_training import CHECKPOINTS

    return read_settings().home / CHECKPOINTS


def _open_store() -> ObjectStore:
    from flytewheel.turn import open_store

    return open_store(open_services(with_router=False))


def _list_local(root: Path) -> list[dict[str, Any]]:
    from flytewheel.training.leftovers import list_kept

    facts = []
    for kept in list_kept(root):
        state = "set aside" if kept.aside else "finished" if kept.finished else "unfinished"
        name = kept.folder.relative_to(root).as_posix()
        facts.append(_describe(name, kept.about, state, kept.steps, kept.size_bytes, kept.modified.isoformat()))
    return facts


def _list_stored(store: ObjectStore) -> list[dict[str, Any]]:
    from flytewheel.training.uploads import list_copies

    facts = []
    for stored, about in list_copies(store):
        objects = store.describe(stored.prefix)
        newest = max((found.modified for found in objects if found.modified), default=None)
        steps = [step for step, _ in stored.complete()]
        size = sum(found.size for found in objects)
        facts.append(_describe(stored.name, about, "in the store", steps, size, newest.isoformat() if newest else ""))
    return facts


def _describe(
    name: str, about: Mapping[str, Any], state: str, steps: Sequence[int], size_bytes: int, modified: str
) -> dict[str, Any]:
    return {
        "name": name,
        "station": about.get("station", ""),
        "model": about.get("name", ""),
        "run": about.get("run", ""),
        "state": state if about else f"{state}, manifest.json cannot be read",
        "steps": list(steps),
        "data": str(about.get("data", ""))[:_DIGITS],
        "recipe": str(about.get("recipe_digest", ""))[:_DIGITS],
        "code": about.get("code", ""),
        "size_bytes": size_bytes,
        "modified": modified,
    }
