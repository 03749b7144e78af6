"""The commands `flytewheel models gc|export`: what the store need not keep, and a version as a folder."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import click

from flytewheel.terminal import as_json, open_registry, open_services, print_table, say

if TYPE_CHECKING:
    from registry.collection import Garbage


@click.command("gc")
@click.option("--apply", "apply_", is_flag=True, help="Do it; without this it is only said.")
@click.option(
    "--grace-hours", type=click.FloatRange(min=0), default=24.0, show_default=True,
    help="How old garbage must be to be condemned, and how long condemned to be deleted.",
)  # fmt: skip
@click.option(
    "--hold-days", type=click.FloatRange(min=0), default=7.0, show_default=True,
    help="How long a registration that was cut off keeps what it uploaded.",
)  # fmt: skip
@as_json
def models_gc(apply_: bool, grace_hours: float, hold_days: float, json_: bool) -> None:
    """Delete what no version needs, in two passes: one condemns it, another one a grace period later deletes it.

    Only the registry's own objects are looked at; data sets and runs are other commands' affair.
    """
    from flytewheel.turn import open_store
    from registry.collection import collect

    store = open_store(open_services(with_router=False))
    found = collect(store, apply=apply_, grace=timedelta(hours=grace_hours), hold=timedelta(days=hold_days))

    def text() -> None:
        would = "" if apply_ else "would be "
        for what, rows in (("deleted", found.deleted), ("condemned", found.condemned)):
            if rows:
                print_table((f"{would}{what}", "bytes"), [(each.key, each.size) for each in rows])
            click.echo(f"{would}{what}: {_sum(rows)}")
        click.echo(f"condemned and waiting for the end of the grace period: {_sum(found.waiting)}")
        click.echo(f"too young to be condemned: {found.young}")
        for key in found.uploads:
            click.echo(f"unfinished upload {would}given up: {key}")
        click.echo(f"not the registry's, and not looked at: {found.foreign} objects")
        if not apply_:
            click.echo("nothing was changed; do it with: flytewheel models gc --apply")

    say(found, json_, text)


@click.command("export")
@click.argument("name")
@click.argument("version")
@click.argument("folder", type=click.Path(path_type=Path))
@as_json
def models_export(name: str, version: str, folder: Path, json_: bool) -> None:
    """Write a version (or alias) into FOLDER: its files, its manifest and its signature, each checked.

    The folder is ready for `ollama create -f Modelfile` and `llama-server -m`; calling it again goes on from a fault.
    """
    from flytewheel.errors import RegistryError
    from flytewheel.progress import Progress
    from registry.signing import PROVENANCE

    registry = open_registry()
    manifest, proof = registry.show(name, version), folder / PROVENANCE
    if folder.exists() and any(folder.iterdir()) and not _is_same(proof, manifest.to_bytes()):
        raise RegistryError(
            f"{folder} holds something else than {name} {manifest.version}; give a folder that is new or empty"
        )
    folder.mkdir(parents=True, exist_ok=True)
    proof.write_bytes(manifest.to_bytes())  # first, so that a second try knows its folder again
    with Progress() as progress:
        written = registry.download(name, manifest.version, folder, progress=progress)

    def text() -> None:
        for path in written:
            click.echo(path)

    say(written, json_, text)


def _is_same(path: Path, data: bytes) -> bool:
    return path.is_file() and path.read_bytes() == data


def _sum(rows: tuple[Garbage, ...]) -> str:
    return f"{len(rows)} objects, {sum(each.size for each in rows):,} bytes"
