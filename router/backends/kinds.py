"""Which kind of backend the settings name, and how one is made."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

from flytewheel.addresses import AddressRule, allow_written, read_networks
from flytewheel.ollama import Ollama
from flytewheel.settings import Settings
from flytewheel.vllm import Vllm
from router.backends.host import Host
from router.backends.llama import LlamaHost
from router.backends.ollama import OllamaHost
from router.backends.served import ServedModel
from router.backends.vllm import VllmHost

ALLOW = "FLYTEWHEEL_BACKEND_ALLOW"


def serve_by_settings(settings: Settings, models: Path) -> Callable[[ServedModel], Host]:
    """What makes the host of a version; `models` is our folder of versions."""
    url, key = settings.backend_url or "", settings.backend_key.get_secret_value() if settings.backend_key else None
    allow = list_allowed(settings)
    written = tuple(str(network) for network in allow_written(urlsplit(url).hostname or ""))
    networks = (*allow, *written)
    rule = AddressRule(read_networks(networks, ALLOW))
    if settings.backend == "ollama":
        return lambda model: OllamaHost(
            model, lambda timeout_s: Ollama(url, key=key, timeout_s=timeout_s, rule=rule), allow=networks
        )
    if settings.backend == "vllm":
        folders = (models, settings.backend_folder or str(models))
        return lambda model: VllmHost(
            model, lambda timeout_s: Vllm(url, key=key, timeout_s=timeout_s, rule=rule), folders, allow=networks
        )
    return serve_by_llama(settings.home / "logs")


def list_allowed(settings: Settings) -> tuple[str, ...]:
    """The networks of `FLYTEWHEEL_BACKEND_ALLOW`.

    Raises:
        SettingsError: one of them is none.
    """
    given = tuple(text.strip() for text in settings.backend_allow.split(",") if text.strip())
    read_networks(given, ALLOW)
    return given


def serve_by_llama(logs: Path) -> Callable[[ServedModel], Host]:
    """Makes llama.cpp processes, each with a log of its own."""
    threads = max(1, (os.cpu_count() or 2) // 2)
    return lambda model: LlamaHost(model, logs / f"llama-{model.name}-{model.version}.log", threads=threads)
