"""The base model that a recipe names: whether it can be loaded, told from its files, none of which is read whole.

The header of a safetensors file gives every tensor's shape and where the last byte lies: parameters are counted, and a
file that was cut short is found, in milliseconds. A hub id is looked for in the hub's cache only.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from flytewheel.doctor.findings import Finding, doubtful, missing
from flytewheel.errors import BaseModelError
from flytewheel.models import locate_base
from flytewheel.recipe import BaseModelSpec
from flytewheel.weights import check_base

_WEIGHTS, _INDEX = "model.safetensors", "model.safetensors.index.json"
_TOKENIZERS = ("tokenizer.json", "tokenizer.model", "vocab.json")
_PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt")
_MAX_HEADER_BYTES = 100_000_000  # the format's own limit
_POINTER = b"version https://git-lfs"


@dataclass(frozen=True, slots=True)
class BaseModel:
    """What the files say. `folder` is empty for a hub id that is not in the cache; `None` is unknown.

    Attributes:
        model: as the recipe names it.
        folder: where its files are.
        architecture: transformers' class.
        parameters: of all tensors.
        weight_bytes: on disk.
        tokenizer: whether there is one.
        chat_template: whether the tokenizer brings one.
        shapes: (rows, columns) of every matrix, by name.
        config: `config.json`, of the language part where there are several.
    """

    model: str
    folder: str
    architecture: str | None = None
    parameters: int | None = None
    weight_bytes: int | None = None
    tokenizer: bool = False
    chat_template: bool = False
    shapes: Mapping[str, tuple[int, int]] = field(default_factory=dict, repr=False)
    config: Mapping[str, Any] = field(default_factory=dict, repr=False)


def examine_base(spec: BaseModelSpec, environ: Mapping[str, str] | None = None) -> tuple[BaseModel, list[Finding]]:
    """Looks at the base model's files, and says what is wrong with them."""
    environ = os.environ if environ is None else environ
    where = locate_base(spec)
    offline = environ.get("HF_HUB_OFFLINE", "").lower() in {"1", "true", "yes", "on"}
    folder, from_hub, findings = Path(where), False, list[Finding]()
    if not folder.is_dir():
        if where.startswith((".", "/", "~")):
            return BaseModel(spec.model, ""), [
                missing(f"base.model {spec.model!r}: no such folder", "correct the path in the recipe")
            ]
        cached = _find_cached(where, spec.revision)
        if cached is None:
            return BaseModel(spec.model, ""), [_not_cached(spec, offline)]
        folder, from_hub = cached, True
    config = _read_json(folder / "config.json")
    text = config.get("text_config") if isinstance(config.get("text_config"), dict) else config
    read = _Weights()
    findings += _read_weights(folder, spec, read)
    tokenizer = any((folder / name).is_file() for name in _TOKENIZERS)
    template = _has_template(folder)
    found = BaseModel(
        model=spec.model,
        folder=str(folder),
        architecture=next(iter(config.get("architectures") or ()), None),
        parameters=read.parameters or None,
        weight_bytes=read.size or None,
        tokenizer=tokenizer,
        chat_template=template,
        shapes=read.shapes,
        config={**config, **(text or {})},
    )
    if from_hub and not offline and not _is_whole(folder):
        return found, [
            doubtful(
                f"base.model {spec.model!r} is only partly in the hub's cache: the first turn would fetch the rest",
                f"fetch it now: hf download {spec.model}",
            )
        ]
    return found, [*findings, *_judge(found, spec, config)] or _look_inside(folder)


def _look_inside(folder: Path) -> list[Finding]:
    """What loading would refuse, where nothing else is wrong."""
    try:
        check_base(folder)
    except BaseModelError as error:
        problem, _, step = str(error).partition("; ")
        return [missing(problem, step or "take another base")]
    return []


def _judge(found: BaseModel, spec: BaseModelSpec, config: Mapping[str, Any]) -> Iterator[Finding]:
    name = f"base.model {spec.model!r}"
    if not config:
        yield missing(f"{name} has no readable config.json in {found.folder}", "copy or download it again")
    if not found.tokenizer:
        yield missing(f"{name} has no tokenizer ({' or '.join(_TOKENIZERS)})", "copy or download it again, whole")
    if not found.chat_template:
        yield missing(
            f"{name} has no chat template (chat_template.jinja, or in tokenizer_config.json)", "take an instruct model"
        )
    kind = config.get("model_type")
    try:
        known = _known_types()
    except Exception as error:  # what a library throws whose own libraries do not fit
        cause = " ".join(f"{type(error).__name__}: {error}".split())[:200]
        yield missing(f"transformers cannot be loaded ({cause})", "pip install --force-reinstall transformers")
        known = None
    if config and known is not None and kind not in known:
        own = ", and code that comes with a model is never run" if config.get("auto_map") else ""
        yield missing(
            f"{name} is of type {kind!r}, which the installed transformers does not know{own}",
            "pip install --upgrade transformers, or take another base",
        )
    if config.get("quantization_config"):
        yield doubtful(f"{name} is quantised already", "take its full weights: adapters are merged into those")
    longest = found.config.get("max_position_embeddings")
    if isinstance(longest, int) and spec.max_length > longest:
        yield doubtful(
            f"base.max_length is {spec.max_length}, {name} was made for {longest} tokens", f"set it to {longest}"
        )


def _not_cached(spec: BaseModelSpec, offline: bool) -> Finding:
    name = f"base.model {spec.model!r}"
    if offline:
        return missing(
            f"{name} is neither a folder nor in the hub's cache, and HF_HUB_OFFLINE is set",
            f"name a folder, or fetch it once with network: hf download {spec.model}",
        )
    return doubtful(
        f"{name} is no folder and not in the hub's cache: the first turn would fetch it",
        f"fetch it now: hf download {spec.model} (after hf auth login, where it wants an account)",
    )


class _Weights:
    """What the headers add up to."""

    def __init__(self) -> None:
        self.parameters = 0
        self.size = 0
        self.shapes: dict[str, tuple[int, int]] = {}


def _is_whole(folder: Path) -> bool:
    """Whether nothing of a cached model is left to fetch; pickled weights count, they are judged as such."""
    weights = (folder / _WEIGHTS).is_file() or any(next(folder.glob(pattern), None) for pattern in _PICKLES)
    shards = set((_read_json(folder / _INDEX).get("weight_map") or {}).values())
    whole = weights or (bool(shards) and all((folder / shard).is_file() for shard in shards))
    return whole and all((folder / name).is_file() for name in ("config.json", "tokenizer_config.json"))


def _read_weights(folder: Path, spec: BaseModelSpec, into: _Weights) -> Iterator[Finding]:
    name = f"base.model {spec.model!r}"
    again = "copy or download it again"
    index = folder / _INDEX
    if (folder / _WEIGHTS).is_file():
        files = [_WEIGHTS]
    elif index.is_file():
        files = sorted(set((_read_json(index).get("weight_map") or {}).values()))
        if not files:
            yield missing(f"{name}: {_INDEX} names no file", again)
    else:
        yield _no_weights(folder, name)
        return
    absent = [file for file in files if not (folder / file).is_file()]
    if absent:
        yield missing(f"{name} lacks {len(absent)} of {len(files)} weight files, {absent[0]} first", again)
    for file in files:
        if file not in absent:
            fault = _read_header(folder / file, into)
            if fault:
                yield missing(f"{name}: {file} {fault}", again if "Git" not in fault else "git lfs pull")


def _no_weights(folder: Path, name: str) -> Finding:
    if (folder / "adapter_config.json").is_file():
        return missing(f"{name} is an adapter, not a base", "name the model that it was trained on")
    if any(next(folder.glob(pattern), None) for pattern in _PICKLES):
        return missing(
            f"{name} has pickled weights only, which can run code when they are loaded",
            f"take a copy with {_WEIGHTS}, or convert it where you trust it (save_pretrained writes safetensors)",
        )
    if next(folder.glob("*.gguf"), None):
        return missing(f"{name} is a GGUF file, which cannot be trained on", "take its safetensors")
    return missing(f"{name} has no weights ({_WEIGHTS} or {_INDEX})", "copy or download it again, whole")


def _read_header(path: Path, into: _Weights) -> str | None:
    """Adds up a safetensors header (length as 8 bytes, little-endian; then JSON; then the data); says what is wrong."""
    size = path.stat().st_size
    with path.open("rb") as stream:
        start = stream.read(len(_POINTER))
        if start == _POINTER:
            return "is a pointer of Git LFS, not the weights"
        length = int.from_bytes(start[:8], "little")
        if len(start) < 8 or length > min(size, _MAX_HEADER_BYTES):
            return "is not a safetensors file, or was cut short"
        stream.seek(8)
        try:
            header = json.loads(stream.read(length))
            tensors = {key: value for key, value in header.items() if key != "__metadata__"}
            end = max((tensor["data_offsets"][1] for tensor in tensors.values()), default=0)
            shapes = {key: tuple(tensor["shape"]) for key, tensor in tensors.items()}
        except (ValueError, KeyError, TypeError, IndexError, AttributeError):
            return "has a header that cannot be read"
    if size != 8 + length + end:
        return f"is {size:,} bytes, its header says {8 + length + end:,}: it was cut short or changed"
    into.size += size
    into.parameters += sum(math.prod(shape) for shape in shapes.values())
    into.shapes.update({key: (shape[0], shape[1]) for key, shape in shapes.items() if len(shape) == 2})
    return None


def _has_template(folder: Path) -> bool:
    if (folder / "chat_template.jinja").is_file() or next(folder.glob("additional_chat_templates/*.jinja"), None):
        return True
    return any(
        _read_json(folder / name).get("chat_template") for name in ("tokenizer_config.json", "chat_template.json")
    )


def _read_json(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}


def _find_cached(model: str, revision: str | None) -> Path | None:
    try:
        from huggingface_hub import try_to_load_from_cache

        found = try_to_load_from_cache(model, "config.json", revision=revision)
    except (ImportError, ValueError):  # no such package, or a name that the hub could not have
        return None
    return Path(found).parent if isinstance(found, str) else None


def _known_types() -> frozenset[str]:
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING_NAMES

    return frozenset(CONFIG_MAPPING_NAMES)
