"""What is told of a served version: its size, age, family and form, from its manifest and the header of its GGUF.

All of it is read, nothing is guessed: what a version does not say is empty or 0. What the chat template can do is read
from the template's text, as Ollama does it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from math import prod
from pathlib import Path
from typing import Any

from flytewheel.errors import BaseModelError, ExportError, ModelServerError
from flytewheel.gguf_header import Header, check_header
from flytewheel.modelfile import Modelfile, read_modelfile
from flytewheel.sending import MODELFILE
from flytewheel.upstreams import UPSTREAM, read_upstream
from registry.manifest import Manifest

_TEMPLATE = "tokenizer.chat_template"


@dataclass(frozen=True, slots=True)
class Card:
    """One version.

    Attributes:
        created_at: When its registration began.
        size: Bytes of the files that it is served from; 0 where it is served elsewhere.
        format: `gguf` or `safetensors`; empty where it is served elsewhere.
        family: Its architecture's name, as in the GGUF.
        parameters: How many.
        quantization: As llama.cpp names it, such as Q4_K_M.
        context: Tokens that the model was trained for.
        template: The chat template: the Modelfile's where it has one, else the GGUF's.
        modelfile: What an Ollama is told of it.
        license: As the base states it.
        base: Name of the base model; where it is served elsewhere, what it is called there.
        values: Of the GGUF's header, without arrays and templates.
    """

    created_at: datetime
    size: int
    format: str
    family: str = ""
    parameters: int = 0
    quantization: str = ""
    context: int = 0
    template: str = ""
    modelfile: Modelfile | None = None
    license: str = ""
    base: str = ""
    values: Mapping[str, Any] = field(default_factory=dict)

    @property
    def parameter_size(self) -> str:
        """The number of parameters as people say it, such as 8.0B; empty where it is not known."""
        for unit, name in ((10**12, "T"), (10**9, "B"), (10**6, "M"), (10**3, "K")):
            if self.parameters >= unit:
                return f"{self.parameters / unit:.1f}{name}"
        return str(self.parameters or "")

    @property
    def capabilities(self) -> list[str]:
        """What can be asked of it, in Ollama's words."""
        told = ["completion"]
        if "tools" in self.template or ".Tools" in self.template:
            told.append("tools")
        if "enable_thinking" in self.template or ".Think" in self.template:
            told.append("thinking")
        return told


def describe_version(manifest: Manifest, folder: Path, paths: list[str]) -> Card:
    """What is told of a version whose files at `paths` lie in `folder`."""
    if UPSTREAM in paths:
        return Card(manifest.created_at, 0, "", base=_name_upstream(folder / UPSTREAM))
    facts, gguf = manifest.facts, next((path for path in paths if path.endswith(".gguf")), None)
    header = None if gguf is None else _read_header(folder / gguf)
    values = {} if header is None else header.values
    family = str(values.get("general.architecture", ""))
    modelfile = _read_beside(folder, paths)
    template = modelfile.template if modelfile and modelfile.template else values.get(_TEMPLATE)
    return Card(
        manifest.created_at,
        sum(manifest.files[path].size for path in paths),
        _name_format(paths),
        family,
        0 if header is None else sum(prod(tensor.shape) for tensor in header.tensors),
        _name_type(values.get("general.file_type")),
        _whole(values.get(f"{family}.context_length")),
        str(template or ""),
        modelfile,
        str(facts.get("base_license") or values.get("general.license") or ""),
        str(facts.get("base_model") or ""),
        {key: value for key, value in values.items() if not key.startswith(_TEMPLATE)},
    )


def _name_format(paths: list[str]) -> str:
    kinds = {path.rpartition(".")[2] for path in paths}
    return "gguf" if "gguf" in kinds else "safetensors"  # the bare base of a vLLM has no files here, and is these


def _name_upstream(path: Path) -> str:
    try:
        return read_upstream(path).model
    except ModelServerError:  # whoever serves it says so
        return ""


def _read_header(path: Path) -> Header | None:
    try:
        return check_header(path)
    except BaseModelError:  # whoever serves it says so
        return None


def _read_beside(folder: Path, paths: list[str]) -> Modelfile | None:
    if MODELFILE not in paths:
        return None
    try:
        return read_modelfile((folder / MODELFILE).read_text("utf-8"))
    except (ExportError, OSError, UnicodeDecodeError):
        return None


def _name_type(file_type: Any) -> str:
    from gguf import LlamaFileType

    try:
        return str(LlamaFileType(file_type).name).removeprefix("MOSTLY_").removeprefix("ALL_")
    except ValueError:
        return ""


def _whole(value: Any) -> int:
    return value if isinstance(value, int) else 0
