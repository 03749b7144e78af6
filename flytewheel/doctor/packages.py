"""The packages that decide what a turn can do, beyond what pip would complain about; and where its curves go."""

from __future__ import annotations

import importlib
import os
import re
import socket
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from importlib import metadata
from importlib.util import find_spec
from urllib.parse import urlsplit

from flytewheel.doctor.findings import Finding, doubtful, missing
from flytewheel.tracking import choose_mode

_REACH_S = 2.0
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
# Native libraries that a wheel or a compiler may have made for another machine are loaded, once, to see; those that
# open a card when they are imported are only looked for.
_PACKAGES = (
    ("xllamacpp", "xllamacpp", "serves models behind the router", True),
    ("llama_cpp", "llama-cpp-python", "quantises and checks exported models", True),
    ("wandb", "wandb", "curves and artifacts", False),
    ("bitsandbytes", "bitsandbytes", "adapter: qlora, on CUDA", False),
    ("flash_attn", "flash-attn", "attention: flash_attention_2, on CUDA", False),
)
NEEDED = ("xllamacpp", "llama_cpp", "wandb")


@dataclass(frozen=True, slots=True)
class Package:
    """An installed package or one that could be; `fault` says why an installed one cannot be loaded."""

    name: str
    version: str | None
    purpose: str
    fault: str | None = None

    @property
    def usable(self) -> bool:
        """Whether it is there and was not seen to fail."""
        return self.version is not None and self.fault is None


@dataclass(frozen=True, slots=True)
class Tracking:
    """Where wandb writes: `mode` is online, offline or disabled; `reachable` is unknown where nobody asked."""

    mode: str
    host: str
    reachable: bool | None


def read_packages() -> dict[str, Package]:
    """The packages that matter, by the name that they are imported under."""
    found = {}
    for name, distribution, purpose, load in _PACKAGES:
        version = _version(distribution, name)
        fault = _load_fault(name) if load and version is not None else None
        found[name] = Package(distribution, version, purpose, fault)
    return found


def judge_packages(packages: Mapping[str, Package]) -> Iterator[Finding]:
    """What is needed and cannot be used, and what flytewheel declares and is not installed."""
    for name in NEEDED:
        package = packages[name]
        if package.version is None:
            yield missing(f"the package {package.name} is not installed ({package.purpose})", _install(package.name))
        elif package.fault:
            yield missing(
                f"{package.name} {package.version} is installed and cannot be loaded ({package.fault})",
                f"pip install --force-reinstall --no-deps {package.name}=={package.version}",
            )
    absent = sorted(set(_undelivered()) - {packages[name].name for name in NEEDED})
    if absent:
        yield missing(f"not installed: {', '.join(absent)}", "pip install -e . (in flytewheel's folder)")


def read_tracking(
    environ: Mapping[str, str] | None = None, *, reach: Callable[[str, int], bool] | None = None
) -> Tracking:
    """Where curves go, and for `online` whether its server takes a connection (none is tried through a proxy)."""
    environ = os.environ if environ is None else environ
    mode = choose_mode(environ)
    parts = urlsplit(environ.get("WANDB_BASE_URL") or "https://api.wandb.ai")
    host = parts.hostname or "api.wandb.ai"
    proxied = any(environ.get(name) for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"))
    reachable = None
    if mode == "online" and not proxied:
        reachable = (reach or _reach)(host, parts.port or (80 if parts.scheme == "http" else 443))
    return Tracking(mode, host, reachable)


def judge_tracking(tracking: Tracking) -> Iterator[Finding]:
    """An online account without a server makes every station wait before it goes on offline."""
    if tracking.reachable is False:
        yield doubtful(
            f"wandb is online by its settings and {tracking.host} takes no connection: each station would wait for it",
            "set WANDB_MODE=offline, or mend the network",
        )


def _version(distribution: str, module: str) -> str | None:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return "unknown version" if find_spec(module) is not None else None


def _load_fault(module: str) -> str | None:
    try:
        importlib.import_module(module)
    except Exception as error:  # whatever a native library throws when it does not fit
        return " ".join(f"{type(error).__name__}: {error}".split())[:200]
    return None


def _undelivered() -> Iterator[str]:
    try:
        requirements = metadata.requires("flytewheel") or []
    except metadata.PackageNotFoundError:
        return  # run from its folder without being installed: nothing is declared
    for requirement in requirements:
        name = _NAME.match(requirement)
        if name is not None and "extra ==" not in requirement:
            try:
                metadata.version(name.group())
            except metadata.PackageNotFoundError:
                yield name.group()


def _install(name: str) -> str:
    return f"pip install {name} (README, Set-up)"


def _reach(host: str, port: int) -> bool:
    try:
        socket.create_connection((host, port), timeout=_REACH_S).close()
    except OSError:
        return False
    return True
