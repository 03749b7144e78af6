"""The commands `flytewheel models …` that look: what is in the registry, what it is made of, and whether it is whole.

Those that change something are in `promotion_commands` and `upkeep_commands`.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from flytewheel.promotion_commands import models_history, models_promote, models_rollback
from flytewheel.proof_commands import models_bom, models_card, models_sign, verify_folder
from flytewheel.send_commands import models_send
from flytewheel.terminal import as_json, open_registry, print_table, say
from flytewheel.upkeep_commands import models_export, models_gc

if TYPE_CHECKING:
    from registry.manifest import Manifest
    from registry.taints import Tainted
    from registry.versions import Registry


@click.group()
def models() -> None:
    """Versions in the registry."""


@models.command("list")
@click.argument("name", required=False)
@as_json
def models_list(name: str | None, json_: bool) -> None:
    """List versions, newest first, with the aliases that point at them."""
    from flytewheel.errors import RegistryError
    from registry.taints import list_taints

    registry = open_registry()
    names = registry.names()
    if name is not None and name not in names:
        raise RegistryError(registry.describe_known(name))
    taints = list_taints(registry.store, name)
    found = [_describe(registry, each, taints.get((each.name, each.version))) for each in registry.list(name)[::-1]]
    rows = [
        (
            each["name"],
            each["version"],
            ", ".join(each["aliases"]),
            each["created_at"][:16].replace("T", " "),
            each["facts"].get("kind", ""),
            each["facts"].get("verdict", ""),
            _tell_taint(each["taint"]),
        )
        for each in found
    ]
    heads = ("model", "version", "alias", "created", "kind", "verdict", "tainted")
    say(found, json_, lambda: print_table(heads, rows))


def _tell_taint(tainted: Tainted | None) -> str:
    if tainted is None:
        return ""
    reasons = ", ".join(dict.fromkeys(mark.reason for mark in tainted.marks))
    return f"{reasons} until {tainted.deadline:%Y-%m-%d %H:%M}" if tainted.deadline else reasons


@models.command("show")
@click.argument("name")
@click.argument("version")
@as_json
def models_show(name: str, version: str, json_: bool) -> None:
    """Show a version (or alias): what it is made of, how it was judged, what it weighs."""
    from flytewheel.version_page import write_page
    from registry.taints import read_taint

    registry = open_registry()
    manifest = registry.show(name, version)
    found = _describe(registry, manifest, read_taint(registry.store, name, manifest.version))

    def text() -> None:
        click.echo(write_page(found))
        if found["taint"]:
            click.echo(f"\ntainted: {_tell_taint(found['taint'])}")

    say(found, json_, text)


@models.command("diff")
@click.argument("name")
@click.argument("before")
@click.argument("after")
@click.option("--with", "other", metavar="NAME", help="The model of AFTER, where it is another one.")
@as_json
def models_diff(name: str, before: str, after: str, other: str | None, json_: bool) -> None:
    """Compare versions (or aliases) BEFORE and AFTER of model NAME: files by digest, and every fact that differs."""
    from flytewheel.version_page import shorten
    from registry.difference import compare

    registry = open_registry()
    found = compare(registry.show(name, before), registry.show(other or name, after))

    def text() -> None:
        click.echo(f"{found.before} → {found.after}")
        print_table(
            ("file", "", "before", "after", "bytes"),
            [
                (
                    row.path,
                    row.change,
                    (row.before or "")[:12],
                    (row.after or "")[:12],
                    row.size,
                )
                for row in found.files
            ],
        )
        click.echo("")
        if not found.facts:
            click.echo("no fact differs")
            return
        print_table(
            ("fact", "before", "after", "difference"),
            [
                (row.fact, shorten(row.before), shorten(row.after), f"{row.difference:+.6g}" if row.difference else "")
                for row in found.facts
            ],
        )

    say(found, json_, text)


@models.command("lineage")
@click.argument("name")
@click.argument("version")
@as_json
def models_lineage(name: str, version: str, json_: bool) -> None:
    """Walk back from a version (or alias): adapter, data set, recipe, code, base model."""
    found = _walk(open_registry().show(name, version))
    say(found, json_, lambda: print_table(("what", "which"), [(each["what"], each["which"]) for each in found]))


@models.command("download")
@click.argument("name")
@click.argument("version")
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--only", multiple=True, help="Only this file; may be given more than once.")
@as_json
def models_download(name: str, version: str, folder: Path, only: tuple[str, ...], json_: bool) -> None:
    """Download a version (or alias) into FOLDER; every file is hashed as it comes.

    Files that are there and right are kept, and one that was cut off is gone on with: call it again after a fault.
    """
    from flytewheel.progress import Progress

    with Progress() as progress:
        brought = open_registry().download(name, version, folder, only=list(only) or None, progress=progress)

    def text() -> None:
        for path in brought:
            click.echo(path)

    say(brought, json_, text)


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
    """Read stored versions through and hash them again: one, all of model NAME, or all there are.

    Without VERSION, aliases, claims and journal are read as well. Exit 1 when anything is missing or was changed.
    """
    from flytewheel.progress import Progress

    if folder is not None:
        if name is not None:
            raise click.UsageError("give --folder alone, or NAME and VERSION")
        verify_folder(folder, json_)

    with Progress() as progress:
        findings = open_registry().audit(name, version, progress=progress)
    faults = [each for each in findings if each.state != "ok"]

    def text() -> None:
        rows = [(each.name, each.version, each.path, each.state) for each in findings]
        print_table(("model", "version", "file", "state"), rows)
        for each in faults:
            if each.says:
                click.echo(f"{each.path}: {each.says}")
        click.echo(f"{len(findings) - len(faults)} right, {len(faults)} at fault")

    say(findings, json_, text)
    sys.exit(1 if faults else 0)


def _describe(registry: Registry, manifest: Manifest, tainted: Tainted | None) -> dict[str, Any]:
    """A manifest as JSON, with its digest, its size, the aliases that stand for it and what taints it."""
    aliases = registry.aliases(manifest.name)
    return {
        **manifest.model_dump(mode="json"),
        "digest": manifest.digest,
        "size": manifest.size,
        "aliases": sorted(alias for alias, version in aliases.items() if version == manifest.version),
        "taint": tainted,
    }


def _walk(manifest: Manifest) -> list[dict[str, str]]:
    """What a version came from, as its manifest says."""
    facts = manifest.facts
    adapter = sorted(path for path in manifest.files if path.endswith("adapter_model.safetensors"))
    steps = {
        "version": f"{manifest.name} {manifest.version}",
        "run": facts.get("run_id"),
        "adapter": next((f"{path} {manifest.files[path].sha256}" for path in adapter), None),
        "started from": facts.get("started_from"),
        "data set": facts.get("dataset_digest"),
        "recipe": facts.get("recipe_digest"),
        "code": facts.get("git_commit"),
        "base model": " ".join(filter(None, (facts.get("base_model"), facts.get("base_digest")))),
    }
    return [{"what": what, "which": str(which)} for what, which in steps.items() if which]


for _command in (models_promote, models_rollback, models_history):
    models.add_command(_command)
for _command in (models_gc, models_export, models_send, models_bom, models_card, models_sign):
    models.add_command(_command)
