"""Creates a model in an Ollama server through its HTTP API, and looks whether it is the one that was asked for.

Files go up as blobs named by their SHA-256 (`HEAD`, then `POST /api/blobs/sha256:…`, streamed; Ollama hashes what
arrives); `/api/create` names them and brings template, system text and parameters; its answer is a stream of statuses
in which an error can come after a status of 200, and which is only good if it ends in `success`. Then `/api/show` is
held against what was asked for: a server that takes part of it would serve another model under the name.

The protocol is that of Ollama 0.5.5 and later; an older one wants a whole Modelfile, and is told apart by its refusal.
Ollama takes no LoRA adapters any more since its engines became llama-server alone (2026); older ones do.
"""

from __future__ import annotations

import json
import re
import ssl
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from flytewheel.addresses import AddressRule
from flytewheel.errors import ExportError, ModelServerError
from flytewheel.model_server import ModelServer, read_error
from flytewheel.modelfile import Modelfile, Value, read_modelfile
from flytewheel.records import file_digest

Progress = Callable[[str, int, int | None], None]

_CHUNK = 1 << 20
_NAME = re.compile(
    r"(?:[A-Za-z0-9_][A-Za-z0-9_-]{0,79}/)?[A-Za-z0-9_][\w.-]{0,79}(?::[A-Za-z0-9_][\w.-]{0,79})?", re.ASCII
)


class Ollama(ModelServer):
    """One Ollama server; `url` ends before `/api`."""

    def __init__(
        self,
        url: str,
        *,
        key: str | None = None,
        timeout_s: float = 600.0,
        rule: AddressRule | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        super().__init__(url, kind="Ollama", key=key, timeout_s=timeout_s, rule=rule, tls=tls)

    def version(self) -> str:
        """The server's version.

        Raises:
            ModelServerError: it is away, or is no Ollama.
        """
        return str(self.read("/api/version", self.ask("GET", "/api/version")).get("version", ""))

    def list_models(self) -> list[str]:
        """Names of all models, with their tags."""
        return self._list("/api/tags")

    def list_running(self) -> list[str]:
        """Names of the models that are in memory."""
        return self._list("/api/ps")

    def show(self, name: str) -> dict[str, Any] | None:
        """What the server says of a model; None where it has none of that name."""
        answer = self.ask("POST", "/api/show", {"model": name})
        return None if answer.status_code == 404 else self.read("/api/show", answer)

    def load(self, name: str) -> None:
        """Brings a model into memory, to stay there until it is unloaded or asked with another `keep_alive`."""
        self.read(
            "/api/generate", self.ask("POST", "/api/generate", {"model": name, "keep_alive": -1, "stream": False})
        )

    def unload(self, name: str) -> None:
        """Takes a model out of memory; it can be asked again at any time. One that is not there is left alone."""
        if name in self.list_running():
            body = {"model": name, "keep_alive": 0, "stream": False}
            self.read("/api/generate", self.ask("POST", "/api/generate", body))

    def delete(self, name: str) -> bool:
        """Deletes a model; whether there was one."""
        answer = self.ask("DELETE", "/api/delete", {"model": name})
        if answer.status_code not in {200, 404}:
            raise self.refused("/api/delete", answer)
        return answer.status_code == 200

    def bring_blob(self, file: Path, digest: str, progress: Progress | None = None) -> bool:
        """Sends a file unless the server has it; whether it was sent.

        Args:
            file: Read by pieces.
            digest: Its SHA-256 in hex.
            progress: Told the MiB that are sent.

        Raises:
            ModelServerError: the server is away or refuses, or the file is not what the digest says.
        """
        path = f"/api/blobs/sha256:{digest}"
        found = self.ask("HEAD", path)
        if found.status_code == 200:
            return False
        if found.status_code != 404:
            raise self.refused(f"HEAD {path}", found)
        size = file.stat().st_size
        headers = {"content-length": str(size), "content-type": "application/octet-stream"}
        content = _read_chunks(file, size, progress)
        answer = self.ask("POST", path, content=content, headers=headers)
        if answer.status_code not in {200, 201}:
            if answer.status_code == 400 and "digest" in answer.text:
                raise ModelServerError(f"{file.name} is not the file with digest {digest[:12]}…: {read_error(answer)}")
            raise self.refused(f"POST {path}", answer)
        return True

    def create(
        self, name: str, modelfile: Modelfile, digests: Mapping[str, str], progress: Progress | None = None
    ) -> None:
        """Makes a model of blobs that the server has, and waits until it says `success`.

        Args:
            name: `[namespace/]model[:tag]`; one that exists is replaced.
            modelfile: What it is made of.
            digests: SHA-256 in hex of each file that `modelfile` names.
            progress: Told each status.

        Raises:
            ModelServerError: the server refuses, says an error in its stream, or breaks it off.
        """
        check_model_name(name)
        body: dict[str, Any] = {
            "model": name,
            "files": {Path(modelfile.model).name: f"sha256:{digests[modelfile.model]}"},
            "adapters": {Path(path).name: f"sha256:{digests[path]}" for path in modelfile.adapters},
            "template": modelfile.template,
            "system": modelfile.system,
            "parameters": {
                key: list(value) if isinstance(value, tuple) else value for key, value in modelfile.parameters.items()
            },
        }
        status = ""
        try:
            for event in self.stream("POST", "/api/create", {key: value for key, value in body.items() if value}):
                if event.get("error"):
                    raise ModelServerError(f"Ollama at {self.url} did not create {name}: {_flat(event['error'])}")
                status = str(event.get("status", ""))
                if progress is not None and status:
                    progress(f"create {name}: {status[:60]}", 0, None)
        except ModelServerError as error:
            raise ModelServerError(_explain(str(error), name)) from None
        if status != "success":
            raise ModelServerError(
                f"Ollama at {self.url} broke off creating {name} after {status or 'nothing'!r}; look at its log, then"
                " try again"
            )

    def _list(self, path: str) -> list[str]:
        models = self.read(path, self.ask("GET", path)).get("models") or []
        return [str(model.get("model") or model.get("name")) for model in models if isinstance(model, dict)]


def create_model(
    server: Ollama,
    folder: Path,
    name: str,
    *,
    modelfile: Modelfile | None = None,
    known: Mapping[str, str] | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Creates what an export folder holds as a model of Ollama, unless it is there already, and returns its `show`.

    Args:
        server: Where to.
        folder: Holds the files that the Modelfile names.
        name: `[namespace/]model[:tag]`.
        modelfile: What to create; default: the `Modelfile` in `folder`.
        known: SHA-256 in hex of files that were hashed already.
        progress: Told MiB and statuses.

    Raises:
        ExportError: a file is missing, or the Modelfile is none of ours.
        ModelServerError: the server is away, refuses, or has made something else of it.
    """
    check_model_name(name)
    if modelfile is None:
        modelfile = _read_folder(folder)
    digests = dict(known or {})
    for path in (modelfile.model, *modelfile.adapters):
        if not (folder / path).is_file():
            raise ExportError(f"the Modelfile in {folder} names {path}, which is not there; export again")
        if path not in digests:
            digests[path] = file_digest(folder / path)
    found = server.show(name)
    if found is None or find_differences(found, modelfile, digests, folder):
        for path in (modelfile.model, *modelfile.adapters):
            server.bring_blob(folder / path, digests[path], progress)
        server.create(name, modelfile, digests, progress)
        found = server.show(name)
        if found is None:
            raise ModelServerError(
                f"Ollama at {server.url} said that it created {name}, and knows none; look at its log"
            )
        differences = find_differences(found, modelfile, digests, folder)
        if differences:
            raise ModelServerError(
                f"Ollama at {server.url} made something else of {name}: {'; '.join(differences)}; does its version"
                " know less? upgrade it"
            )
    return found


def find_differences(
    shown: Mapping[str, Any], modelfile: Modelfile, digests: Mapping[str, str], folder: Path
) -> list[str]:
    """In what a model as `/api/show` tells it differs from what was asked for; each as words."""
    differences = []
    told = str(shown.get("modelfile") or "")
    blobs = set(re.findall(r"sha256[-:]([0-9a-f]{64})", told))
    if blobs and digests[modelfile.model] not in blobs:
        differences.append(f"its file is {min(blobs)[:12]}…, not {digests[modelfile.model][:12]}…")
    template = str(shown.get("template") or "")
    if modelfile.template is not None and template != modelfile.template and template != _read_jinja(folder, modelfile):
        differences.append("its template is another one")
    if (shown.get("system") or "") != (modelfile.system or ""):
        differences.append("its system text is another one")
    parameters = parse_parameters(str(shown.get("parameters") or ""))
    for key, value in modelfile.parameters.items():
        if not _same(parameters.get(key), value):
            differences.append(f"its {key} is {parameters.get(key)!r}, not {value!r}")
    kind = (shown.get("details") or {}).get("format")
    if kind not in (None, "", "gguf"):
        differences.append(f"its format is {kind}")
    return differences


def parse_parameters(text: str) -> dict[str, Value]:
    """The parameters of `/api/show`: a line each, the value as Go writes it; a repeated name is a list."""
    found: dict[str, Value] = {}
    for line in text.splitlines():
        name, _, told = line.strip().partition(" ")
        told = told.strip()
        try:
            value = json.loads(told)
        except ValueError:
            value = told.strip('"')
        if isinstance(value, str):
            earlier = found.get(name, ())
            found[name] = (*earlier, value) if isinstance(earlier, tuple) else (value,)
        else:
            found[name] = value
    return found


def check_model_name(name: str) -> None:
    """Refuses a name that Ollama would not take.

    Raises:
        ModelServerError: it is none.
    """
    if not _NAME.fullmatch(name):
        raise ModelServerError(
            f"Ollama takes no model name {name!r}: expected [namespace/]model[:tag] of letters, digits, '.', '_' and"
            " '-', each part at most 80 long"
        )


def _read_folder(folder: Path) -> Modelfile:
    try:
        return read_modelfile((folder / "Modelfile").read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ExportError(f"there is no Modelfile in {folder}; give the folder of an export") from None
    except UnicodeDecodeError:
        raise ExportError(f"the Modelfile in {folder} is no text; export again") from None


def _read_jinja(folder: Path, modelfile: Modelfile) -> str | None:
    """The chat template in the GGUF: newer Ollama shows, and uses, it where it can do more than the one in Go."""
    from gguf import GGUFReader

    try:
        field = GGUFReader(folder / modelfile.model).get_field("tokenizer.chat_template")
    except (OSError, ValueError):
        return None
    return None if field is None else str(field.contents())


def _read_chunks(file: Path, size: int, progress: Progress | None) -> Iterator[bytes]:
    sent, total = 0, max(1, -(-size // _CHUNK))
    with file.open("rb") as stream:
        while chunk := stream.read(_CHUNK):
            yield chunk
            sent += len(chunk)
            if progress is not None:
                progress(f"send {file.name}, MiB", min(total, -(-sent // _CHUNK)), total)


def _same(found: Any, wanted: Value) -> bool:
    if isinstance(wanted, tuple):
        return isinstance(found, tuple) and sorted(found) == sorted(wanted)
    return (
        isinstance(found, int | float) and isinstance(wanted, int | float) and abs(found - wanted) <= 1e-6 * abs(wanted)
    )


def _flat(said: Any) -> str:
    return " ".join(str(said).split())[:300]


def _explain(said: str, name: str) -> str:
    """A refusal with the next step, where it is one of those that are known."""
    lowered = said.lower()
    if "modelfile" in lowered and "required" in lowered:
        return (
            f"{said}: it speaks the create protocol from before 0.5.5; upgrade it, or run"
            f" 'ollama create {name} -f Modelfile' beside the files"
        )
    if "adapters are no longer supported" in lowered:
        return f"{said}: this Ollama takes no LoRA adapters any more; export the merged file instead"
    return said
