"""Which kind of backend the settings name, and how one is made."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

from flytewheel.addresses import AddressRule, allow_written, read_networks
from flytewheel.authorities import trust_authorities
from flytewheel.ollama import Ollama
from flytewheel.settings import Settings
from flytewheel.vllm import Vllm
from router.backends.host import Host
from router.backends.llama import LlamaHost, LlamaProcess, ProbeRule
from router.backends.ollama import OllamaHost
from router.backends.resident import Residents
from router.backends.served import ServedModel
from router.backends.upstream import UpstreamHost
from router.backends.vllm import VllmHost

ALLOW = "FLYTEWHEEL_BACKEND_ALLOW"


def serve_by_settings(settings: Settings, models: Path) -> Callable[[ServedModel], Host]:
    """What makes the host of a version; `models` is our folder of versions.

    Raises:
        SettingsError: what is allowed is no list of networks.
    """
    allow = list_allowed(settings)
    serve = _serve_by_kind(settings, models, allow)
    return lambda model: serve(model) if model.upstream is None else UpstreamHost(model, allow=allow)


def _serve_by_kind(settings: Settings, models: Path, allow: tuple[str, ...]) -> Callable[[ServedModel], Host]:
    url, key = settings.backend_url or "", settings.backend_key.get_secret_value() if settings.backend_key else None
    written = tuple(str(network) for network in allow_written(urlsplit(url).hostname or ""))
    networks = (*allow, *written)
    rule = AddressRule(read_networks(networks, ALLOW))
    tls = None if settings.backend_ca is None else trust_authorities(settings.backend_ca)
    if settings.backend == "ollama":
        return lambda model: OllamaHost(
            model, lambda timeout_s: Ollama(url, key=key, timeout_s=timeout_s, rule=rule, tls=tls), allow=networks
        )
    if settings.backend == "vllm":
        folders = (models, settings.backend_folder or str(models))
        return lambda model: VllmHost(
            model,
            lambda timeout_s: Vllm(url, key=key, timeout_s=timeout_s, rule=rule, tls=tls),
            folders,
            allow=networks,
        )
    if settings.backend_mode == "adapters":
        return serve_residents(settings.home / "logs")
    return serve_by_llama(settings.home / "logs")


def list_allowed(settings: Settings) -> tuple[str, ...]:
    """The networks of `FLYTEWHEEL_BACKEND_ALLOW`.

    Raises:
        SettingsError: one of them is none.
    """
    given = tuple(text.strip() for text in settings.backend_allow.split(",") if text.strip())
    read_networks(given, ALLOW)
    return given


def serve_by_llama(logs: Path, probe: ProbeRule = ProbeRule()) -> Callable[[ServedModel], Host]:  # noqa: B008  # frozen
    """Makes llama.cpp processes, one for each version, each with a log of its own."""

    def serve(model: ServedModel) -> Host:
        assert model.file is not None
        return LlamaHost(model, _make_process(logs, probe, f"@{model.version}", model, model.file, ()))

    return serve


def serve_residents(logs: Path, probe: ProbeRule = ProbeRule()) -> Callable[[ServedModel], Host]:  # noqa: B008
    """Makes llama.cpp processes, one for each base, with its versions' adapters.

    llama.cpp answers by one name whatever it is asked by, so there it is the model's without a version.
    """
    return Residents(partial(_make_process, logs, probe, "")).serve


def _make_process(
    logs: Path, probe: ProbeRule, version: str, model: ServedModel, file: Path, adapters: tuple[Path, ...]
) -> LlamaProcess:
    return LlamaProcess(
        file,
        logs / f"llama-{model.name}-{model.version}.log",
        alias=f"flytewheel/{model.name}{version}",
        threads=max(1, (os.cpu_count() or 2) // 2),
        slot_tokens=model.slot_tokens,
        adapters=adapters,
        probe=probe,
    )
