"""Of the commands `flytewheel models …` those about proof: sign, card, bom, and `verify --folder`."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from flytewheel.terminal import as_json, open_services, print_table, say


@click.command("sign")
@click.argument("name")
@click.argument("version", required=False)
@click.option("--unsigned", is_flag=True, help="Every version of NAME that nobody has signed, instead of one VERSION.")
@as_json
def models_sign(name: str, version: str | None, unsigned: bool, json_: bool) -> None:
    """Sign a version (or alias) that is there already, with this machine's key, once every file of it was hashed.

    For versions from before there were keys, and for a new key in the place of an old one. Signatures of other keys
    stay. What you sign is served: be sure first where it comes from.
    """
    from flytewheel.signed_registry import open_registry
    from registry.signing import list_unsigned

    if (version is None) != unsigned:
        raise click.UsageError("give NAME and VERSION, or NAME and --unsigned")
    services = open_services(with_router=False)
    registry = open_registry(services)
    signed = [registry.sign(name, each) for each in ([version] if version else list_unsigned(registry.store, name))]
    key = services.key_ring.read_signing_key().public if signed else None
    told = [
        {"name": each.name, "version": each.version, "manifest": each.digest, "key": key.key_id if key else ""}
        for each in signed
    ]

    def text() -> None:
        for each in signed:
            click.echo(f"{each.name} {each.version} is signed with {key.short if key else ''}")
        if not signed:
            click.echo(f"every version of {name} has a signature")

    say(told, json_, text)


@click.command("card")
@click.argument("name")
@click.argument("version")
def models_card(name: str, version: str) -> None:
    """Print the model card of a version (or alias), in the hub's format."""
    click.echo(_read_file(name, version, "README.md"), nl=False)


@click.command("bom")
@click.argument("name")
@click.argument("version")
def models_bom(name: str, version: str) -> None:
    """Print the bill of materials of a version (or alias): CycloneDX as JSON."""
    import json

    bom = json.loads(_read_file(name, version, "bom.cdx.json"))
    click.echo(json.dumps(bom, indent=1, ensure_ascii=False))


def verify_folder(folder: Path, json_: bool) -> None:
    """Checks a downloaded folder without any service; exit 1 when a file is changed, missing or extra."""
    from flytewheel.progress import Progress
    from flytewheel.settings import read_settings
    from flytewheel.signing_keys import ring_of_settings
    from registry.folder import check_folder

    seal = ring_of_settings(read_settings()).open_seal(sign=False)
    with Progress() as progress:
        manifest, files = check_folder(folder, seal, progress=progress)
    wrong = [file for file in files if file.state != "ok"]

    def text() -> None:
        print_table(("file", "state"), [(file.path, file.state) for file in files])
        title = f"{manifest.name} {manifest.version}"
        said = f"{len(wrong)} of {len(files)} files are not as they were signed" if wrong else "whole, and signed"
        click.echo(f"{folder}: {title}, {said}")

    say({"name": manifest.name, "version": manifest.version, "files": files}, json_, text)
    sys.exit(1 if wrong else 0)


def _read_file(name: str, version: str, path: str) -> str:
    """One small file of a version, hashed on its way."""
    import tempfile

    from flytewheel.errors import RegistryError
    from flytewheel.signed_registry import open_registry

    registry = open_registry(open_services(with_router=False))
    manifest = registry.show(name, version)
    if path not in manifest.files:
        raise RegistryError(f"{name} {manifest.version} holds no {path}: it was registered before there were any")
    with tempfile.TemporaryDirectory() as folder:
        return registry.download(name, manifest.version, Path(folder), only=[path])[0].read_text(encoding="utf-8")
