"""The commands `flytewheel models …`: what is in the registry, where it came from, and which version serves."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from flytewheel.proof_commands import models_bom, models_card, models_sign, verify_folder
from flytewheel.terminal import as_json, open_services, print_table, say

if TYPE_CHECKING:
    from registry.manifest import Manifest
    from registry.taints import Tainted
    from registry.versions import Registry


def _registry() -> Registry:
    from flytewheel.signed_registry import open_registry

    return open_registry(open_services())


@click.group()
def models() -> None:
    """Versions in the registry."""


@models.command("list")
@click.argument("name", required=False)
@as_json
def models_list(name: str | None, json_: bool) -> None:
    """List versions, newest first, with the aliases that point at them."""
    from registry.taints import list_taints

    registry = _registry()
    found = registry.list(name)[::-1]
    taints = list_taints(registry.store, name)
    aliases: dict[tuple[str, str], str] = {}
    for each in sorted({manifest.name for manifest in found}):
        for alias, pointed_at in sorted(registry.aliases(each).items()):
            aliases[each, pointed_at] = ", ".join(filter(None, (aliases.get((each, pointed_at)), alias)))
    rows = [
        (
            manifest.name,
            manifest.version,
            aliases.get((manifest.name, manifest.version), ""),
            f"{manifest.created_at:%Y-%m-%d %H:%M}",
            manifest.facts.get("kind", ""),
            manifest.facts.get("verdict", ""),
            _tell_taint(taints.get((manifest.name, manifest.version))),
        )
        for manifest in found
    ]
    heads = ("model", "version", "alias", "created", "kind", "verdict", "tainted")
    say([_with_taint(each, taints) for each in found], json_, lambda: print_table(heads, rows))


def _with_taint(manifest: Manifest, taints: Mapping[tuple[str, str], Tainted]) -> dict[str, Any]:
    """The manifest, and beside its own keys what stands beside the version."""
    from flytewheel.records import to_jsonable

    return {**to_jsonable(manifest), "taint": taints.get((manifest.name, manifest.version))}


def _tell_taint(tainted: Tainted | None) -> str:
    if tainted is None:
        return ""
    reasons = ", ".join(dict.fromkeys(mark.reason for mark in tainted.marks))
    return f"{reasons} until {tainted.deadline:%Y-%m-%d %H:%M}" if tainted.deadline else reasons


@models.command("show")
@click.argument("name")
@click.argument("version")
def models_show(name: str, version: str) -> None:
    """Print the manifest of a version (or alias): files, digests, lineage, verdict."""
    from registry.taints import read_taint

    registry = _registry()
    manifest = registry.show(name, version)
    tainted = read_taint(registry.store, name, manifest.version)
    say(_with_taint(manifest, {} if tainted is None else {(name, manifest.version): tainted}), True, lambda: None)


@models.command("download")
@click.argument("name")
@click.argument("version")
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--only", multiple=True, help="Only this file; may be given more than once.")
def models_download(name: str, version: str, folder: Path, only: tuple[str, ...]) -> None:
    """Download a version (or alias) into FOLDER; every file is hashed again."""
    from flytewheel.progress import Progress

    with Progress() as progress:
        brought = _registry().download(name, version, folder, only=list(only) or None, progress=progress)
    for path in brought:
        click.echo(path)


@models.command("verify")
@click.argument("name", required=False)
@click.argument("version", required=False)
@click.option(
    "--folder",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="A downloaded version, checked against its own signature; no service is asked.",
)
@as_json
def models_verify(name: str | None, version: str | None, folder: Path | None, json_: bool) -> None:
    """Hash every stored file of a version again; exit 1 when one is missing or differs."""
    if folder is not None and name is None:
        verify_folder(folder, json_)
    if name is None or version is None or folder is not None:
        raise click.UsageError("give NAME and VERSION, or --folder alone")
    checks = _registry().verify(name, version)
    say(checks, json_, lambda: print_table(("file", "state"), [(check.path, check.state) for check in checks]))
    sys.exit(0 if all(check.state == "ok" for check in checks) else 1)


models.add_command(models_bom)
models.add_command(models_card)
models.add_command(models_sign)
