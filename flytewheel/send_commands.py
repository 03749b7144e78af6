"""The command `flytewheel models send`: a version into an Ollama or a vLLM that runs already."""

from __future__ import annotations

import click

from flytewheel.terminal import as_json, open_registry, say


@click.command("send")
@click.argument("name")
@click.argument("version")
@click.option("--to", "kind", type=click.Choice(["ollama", "vllm"]), default="ollama", show_default=True)
@click.option("--url", help="Where the server is (default: FLYTEWHEEL_BACKEND_URL).")
@click.option("--as", "served_as", help="Its name there (default: NAME:VERSION in Ollama, NAME@VERSION in vLLM).")
@click.option("--file", help="Ollama: another GGUF of the version than the one it is served from.")
@as_json
def models_send(
    name: str, version: str, kind: str, url: str | None, served_as: str | None, file: str | None, json_: bool
) -> None:
    """Have an Ollama or vLLM serve a version (or alias); what is there already is not sent again.

    Ollama is given the GGUF, the template, the stops and the parameters, and is asked whether it took them all. vLLM is
    told where it sees the adapter's folder (FLYTEWHEEL_BACKEND_FOLDER), and must allow loading while it runs.
    """
    from flytewheel.errors import SettingsError
    from flytewheel.ollama import Ollama
    from flytewheel.progress import Progress
    from flytewheel.sending import Sent, send_to_ollama, send_to_vllm
    from flytewheel.settings import read_settings
    from flytewheel.vllm import Vllm

    settings = read_settings()
    where = url or settings.backend_url
    if where is None:
        raise SettingsError(f"models send: give --url or FLYTEWHEEL_BACKEND_URL, where {kind} listens")
    if file is not None and kind != "ollama":
        raise click.UsageError("--file: vLLM is given the version's adapter; leave it out")
    key = settings.backend_key.get_secret_value() if settings.backend_key else None
    models = settings.home / "models"
    registry = open_registry()
    sent: Sent
    with Progress() as progress:
        if kind == "ollama":
            with Ollama(where, key=key) as server:
                sent = send_to_ollama(
                    registry,
                    name,
                    version,
                    server,
                    models=models,
                    served_as=served_as,
                    file=file,
                    progress=progress,
                )
        else:
            with Vllm(where, key=key) as vllm:
                sent = send_to_vllm(
                    registry,
                    name,
                    version,
                    vllm,
                    models=models,
                    seen_at=settings.backend_folder,
                    served_as=served_as,
                    progress=progress,
                )
    say(
        sent,
        json_,
        lambda: click.echo(f"{sent.server} serves {name} {sent.version} as {sent.served_as} ({sent.sha256[:12]}…)"),
    )
