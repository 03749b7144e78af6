"""Which of a version's files a model server is given, and how a version is sent to one that runs already.

llama.cpp and Ollama are given a GGUF (Ollama the Modelfile beside it, too), vLLM the PEFT adapter, which it puts on the
base that it serves. Full weights are no adapter: vLLM is not given them here.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from flytewheel.errors import ModelServerError, RegistryError
from flytewheel.modelfile import Modelfile, read_modelfile
from flytewheel.ollama import Ollama, Progress, create_model
from flytewheel.vllm import Vllm

if TYPE_CHECKING:
    from registry.manifest import Manifest
    from registry.versions import Registry

MODELFILE = "Modelfile"
ADAPTER = "adapter"


@dataclass(frozen=True, slots=True)
class Sent:
    """A version in a server: under which name, and the SHA-256 of the weights that it was given."""

    server: str
    name: str
    version: str
    served_as: str
    file: str
    sha256: str


def choose_gguf(manifest: Manifest) -> str:
    """The GGUF that a version is served from: the one that `facts["serve"]` names, else its first.

    Raises:
        RegistryError: it holds none.
    """
    named = manifest.facts.get("serve")
    if isinstance(named, str) and named in manifest.files:
        return named
    found = sorted(path for path in manifest.files if path.endswith(".gguf"))
    if not found:
        raise RegistryError(f"{manifest.name} {manifest.version} holds no .gguf file; export and register it again")
    return found[0]


def choose_adapter(manifest: Manifest) -> list[str]:
    """The files of the adapter; none where nothing was trained into the base.

    Raises:
        ModelServerError: the version holds full weights.
    """
    files = [path for path in sorted(manifest.files) if path.startswith(f"{ADAPTER}/")]
    if not files and any(path.startswith("weights/") for path in manifest.files):
        raise ModelServerError(
            f"{manifest.name} {manifest.version} holds full weights, and vLLM is given adapters only; serve it by"
            " Ollama or llama.cpp"
        )
    return files


def read_beside(folder: Path, gguf: str) -> Modelfile:
    """The Modelfile in a version's folder, of this GGUF; one that says nothing more where there is none."""
    beside = folder / MODELFILE
    if not beside.is_file():
        return Modelfile(gguf)
    return replace(read_modelfile(beside.read_text("utf-8")), model=gguf)


def send_to_ollama(
    registry: Registry,
    name: str,
    version: str,
    server: Ollama,
    *,
    models: Path,
    served_as: str | None = None,
    file: str | None = None,
    progress: Progress | None = None,
) -> Sent:
    """Makes a version a model of Ollama; nothing is sent that is there already.

    Args:
        registry: Where the version is.
        name: The model.
        version: Version or alias.
        server: Where to.
        models: Our folder of versions, where its files are brought.
        served_as: The name in Ollama; default `NAME:VERSION`.
        file: Another GGUF of the version than the one that it is served from.
        progress: Told MiB and statuses.

    Raises:
        RegistryError: no such version or file, or its bytes are not those that were registered.
        ModelServerError: the server is away, refuses, or made something else of it.
    """
    manifest = registry.show(name, version)
    gguf = choose_gguf(manifest) if file is None else file
    folder = models / name / manifest.version
    needed = [gguf, *([MODELFILE] if MODELFILE in manifest.files else [])]
    registry.download(name, manifest.version, folder, only=needed, progress=progress)
    served_as = served_as or f"{name}:{manifest.version}"
    known = {path: manifest.files[path].sha256 for path in needed}
    create_model(server, folder, served_as, modelfile=read_beside(folder, gguf), known=known, progress=progress)
    return Sent(server.url, name, manifest.version, served_as, gguf, known[gguf])


def send_to_vllm(
    registry: Registry,
    name: str,
    version: str,
    server: Vllm,
    *,
    models: Path,
    seen_at: str | None = None,
    served_as: str | None = None,
    progress: Progress | None = None,
) -> Sent:
    """Loads a version's adapter into vLLM.

    Args:
        registry: Where the version is.
        name: The model.
        version: Version or alias.
        server: Where to.
        models: Our folder of versions, where its files are brought.
        seen_at: Where vLLM's machine sees `models`; default: at the same path.
        served_as: The adapter's name there; default `NAME@VERSION`.
        progress: Told MiB.

    Raises:
        RegistryError: no such version, or its bytes are not those that were registered.
        ModelServerError: it holds no adapter; or the server is away, refuses, or does not see the folder.
    """
    manifest = registry.show(name, version)
    files = choose_adapter(manifest)
    if not files:
        raise ModelServerError(
            f"{name} {manifest.version} holds no adapter: it is the bare base, ask vLLM by the base's own name"
        )
    registry.download(name, manifest.version, models / name / manifest.version, only=files, progress=progress)
    served_as = served_as or f"{name}@{manifest.version}"
    server.load_adapter(served_as, str(PurePosixPath(seen_at or str(models)) / name / manifest.version / ADAPTER))
    weights = next((path for path in files if path.endswith(".safetensors")), files[0])
    return Sent(server.url, name, manifest.version, served_as, weights, manifest.files[weights].sha256)
