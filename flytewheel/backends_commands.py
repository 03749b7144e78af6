"""The commands `flytewheel backends …`: versions that somebody else serves, as signed forms in the registry."""

from __future__ import annotations

from pathlib import Path

import click

from flytewheel.terminal import as_json, open_registry, say


@click.group()
def backends() -> None:
    """Models that are served elsewhere, behind an OpenAI-compatible address: sign, show."""


@backends.command("sign")
@click.argument("name")
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@as_json
def backends_sign(name: str, file: Path, json_: bool) -> None:
    """Register what FILE (YAML or JSON: url, model, api_key_env …) says as a signed version of model NAME.

    It gets no traffic by that: make it champion, or the treatment of an experiment, like any other version.
    """
    import tempfile
    from datetime import UTC, datetime

    from flytewheel.records import file_digest
    from flytewheel.upstreams import UPSTREAM, read_upstream, write_upstream

    upstream = read_upstream(file)
    registry = open_registry()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, UPSTREAM)
        write_upstream(upstream, path)
        version = registry.register(
            name,
            {UPSTREAM: path},
            facts={"kind": "upstream", "base_model": upstream.model, "url": upstream.url},
            key=f"upstream:{file_digest(path)}",
            now=datetime.now(UTC),
        ).version
    found = {"name": name, "version": version, "url": upstream.url, "model": upstream.model}
    say(
        found,
        json_,
        lambda: click.echo(
            f"{name} {version} is {upstream.model} at {upstream.url}, signed; `flytewheel models promote {name}"
            f" {version}` makes it the champion"
        ),
    )


@backends.command("show")
@click.argument("name")
@click.argument("version", default="champion")
@as_json
def backends_show(name: str, version: str, json_: bool) -> None:
    """Print where VERSION (default: the champion) of model NAME is served, its signature checked."""
    import json
    import tempfile

    from flytewheel.errors import ModelServerError
    from flytewheel.upstreams import UPSTREAM, read_upstream

    registry = open_registry()
    manifest = registry.show(name, version)
    if UPSTREAM not in manifest.files:
        raise ModelServerError(f"{name} {manifest.version} is served by this router's own backend, from its files")
    with tempfile.TemporaryDirectory() as folder:
        registry.download(name, manifest.version, Path(folder), only=[UPSTREAM])
        form = read_upstream(Path(folder, UPSTREAM)).model_dump()
    found = {"name": name, "version": manifest.version, **form}
    say(found, json_, lambda: click.echo("\n".join(f"{key}: {json.dumps(value)}" for key, value in found.items())))
