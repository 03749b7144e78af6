"""Which files of a version a kind of backend serves it from, and how they come onto this machine's disk."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

from flytewheel.errors import BaseModelError, RouterError, StoreError
from flytewheel.sending import ADAPTER, MODELFILE, choose_adapter, choose_gguf
from flytewheel.upstreams import UPSTREAM
from flytewheel.weights import check_file
from registry.claims import list_versions
from registry.manifest import Manifest, parse_version
from registry.taints import refuse_blocked
from registry.versions import Registry
from router.cards import Card, describe_version


@dataclass(frozen=True, slots=True)
class ServedModel:
    """A version on this machine's disk.

    `digest` is the SHA-256 of what is served (the GGUF, or an adapter's weights), `slot_tokens` the context of one
    answer, `digests` those of all files that were brought, by their path in the version's `folder`. `file` is the GGUF
    or the adapter's folder; None where a version is the bare base, which a server has already. `card` is what is told
    of it. Where `base` is given, `file` is an adapter's GGUF for that base. `upstream` is the file that says where a
    version is served that is not ours.
    """

    name: str
    version: str
    digest: str
    file: Path | None
    slot_tokens: int = 1024
    folder: Path = Path()
    digests: Mapping[str, str] = field(default_factory=dict)
    card: Card | None = None
    base: Path | None = None
    upstream: Path | None = None


def fetch_model(
    registry: Registry, models: Path, name: str, version: str, *, kind: str = "llama.cpp", mode: str = "merged"
) -> ServedModel:
    """Brings the files that a version is served from into `models`, held against their digests.

    `facts["serve"]` names the GGUF; a version that does not say serves its first one. With `mode` "adapters", llama.cpp
    is given the version's adapter and its base, where both are registered, and else the merged file. A version that
    is somebody else's server is served from there whatever the kind.

    Raises:
        RegistryError: no such version, no GGUF in it, the bytes are not those that were registered, or it may not serve
            any more since it learnt from somebody who was erased.
        ModelServerError: this kind of backend cannot serve what the version holds.
        RouterError: what it holds is no model.
    """
    manifest = registry.show(name, version)
    refuse_blocked(registry.store, name, manifest.version, datetime.now(UTC))
    base: tuple[Path, Card] | None = None
    served: str | None
    if UPSTREAM in manifest.files:
        served, needed = UPSTREAM, [UPSTREAM]
    elif kind == "vllm":
        needed = choose_adapter(manifest)
        served = ADAPTER if needed else None
    else:
        served = choose_gguf(manifest)
        if kind == "llama.cpp" and mode == "adapters" and (base := _fetch_base(registry, models, manifest)) is not None:
            served = str(manifest.facts["adapter_file"]["name"])
        needed = [served, *([MODELFILE] if kind == "ollama" and MODELFILE in manifest.files else [])]
    folder = models / name / version
    if needed:
        registry.download(name, version, folder, only=needed)
        _check_headers(folder, needed, f"{name} {version}")
    digests = {path: manifest.files[path].sha256 for path in needed}
    weights = next((path for path in needed if path.endswith((".gguf", ".safetensors", UPSTREAM))), None)
    return ServedModel(
        name,
        version,
        manifest.digest if weights is None else digests[weights],
        None if served is None else folder / served,
        _choose_context(manifest),
        folder,
        digests,
        describe_version(manifest, folder, needed) if base is None else _describe_adapted(manifest, needed, base[1]),
        base=None if base is None else base[0],
        upstream=folder / UPSTREAM if served == UPSTREAM else None,
    )


def _describe_adapted(manifest: Manifest, needed: list[str], base: Card) -> Card:
    size = base.size + sum(manifest.files[path].size for path in needed)
    return replace(base, created_at=manifest.created_at, size=size)


def _fetch_base(registry: Registry, models: Path, manifest: Manifest) -> tuple[Path, Card] | None:
    """The GGUF that a version's adapter is for, from the version that is the bare base, and what is told of it; None
    where either is missing.

    The adapter was tried on the base's file of one kind (`base_kind`), made of the weights of one digest: on any other
    it would say something that no parity check has seen.
    """
    adapter, digest = manifest.facts.get("adapter_file"), manifest.facts.get("base_digest")
    if not isinstance(adapter, dict) or adapter.get("name") not in manifest.files or not isinstance(digest, str):
        return None
    file = f"model-{adapter.get('base_kind')}.gguf"
    for version in _list_bases(registry, models / manifest.name, manifest.name):
        base = registry.show(manifest.name, version)
        if base.facts.get("kind") == "base" and base.facts.get("base_digest") == digest and file in base.files:
            folder = models / base.name / base.version
            registry.download(base.name, base.version, folder, only=[file])
            _check_headers(folder, [file], f"{base.name} {base.version}")
            return folder / file, describe_version(base, folder, [file])
    return None


def _list_bases(registry: Registry, ours: Path, name: str) -> list[str]:
    """The versions of a model that are a bare base, newest first; while the store is away, those on this disk."""
    try:
        versions = list_versions(registry.store, name)
    except StoreError:
        found = [parse_version(folder.name) for folder in ours.iterdir()] if ours.is_dir() else []
        versions = sorted(version for version in found if version is not None)
    return [str(version) for version in reversed(versions) if version.iteration == 0]


def _check_headers(folder: Path, paths: list[str], version: str) -> None:
    """Weights that were registered so, digest and all, may still be none: no server is to find out."""
    for path in paths:
        try:
            if path.endswith((".gguf", ".safetensors")):
                check_file(folder / path, "export and register it again")
        except BaseModelError as error:
            raise RouterError(f"{version} does not start: {error}") from None


def _choose_context(manifest: Manifest) -> int:
    """Tokens of one answer's context: what the recipe trained for, at least 1,024 and at most 8,192."""
    recipe = manifest.facts.get("recipe")
    base = recipe.get("base") if isinstance(recipe, dict) else None
    length = base.get("max_length") if isinstance(base, dict) else None
    return min(8192, max(1024, length)) if isinstance(length, int) else 1024
