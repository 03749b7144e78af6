"""Writes a model that a test made in memory as a GGUF, by way of a folder as training leaves it; and llama.cpp's own
quantiser, the oracle of ours.
"""

from __future__ import annotations

import ctypes
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from flytewheel.export.convert import Conversion, write_kinds
from flytewheel.export.llamacpp import silence_log
from flytewheel.export.parity import ParityReport, check_parity
from flytewheel.export.source import Source
from flytewheel.export.tensor_types import KINDS, TensorTypes, read_tensor_types
from flytewheel.recipe import BaseModelSpec, ExportSpec
from flytewheel.records import Message


def write_model(model: Any, tokenizer: Any, path: Path, *, kind: str = "F16") -> Conversion:
    """Saves the model as safetensors and writes it in one kind to `path`."""
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        model.save_pretrained(folder)
        with Source(Path(folder)) as source:
            return write_kinds(source, tokenizer, {kind: path}, name="tiny")


def quantize(source: Path, target: Path, kind: str, *, threads: int = 1) -> TensorTypes:
    """What `llama_model_quantize` makes of the file `source`."""
    import llama_cpp

    silence_log()
    params = llama_cpp.llama_model_quantize_default_params()
    params.ftype, params.nthread = KINDS[kind].file_type, threads
    status = llama_cpp.llama_model_quantize(str(source).encode(), str(target).encode(), ctypes.byref(params))
    assert status == 0, f"llama.cpp could not quantise {source} to {kind}"
    return read_tensor_types(target, kind)


def check_written(
    model: Any, tokenizer: Any, files: Mapping[str, Path], talks: Sequence[tuple[Message, ...]], **spec: Any
) -> ParityReport:
    """Holds files against a model that a test made in memory, by way of a folder."""
    with tempfile.TemporaryDirectory(dir=next(iter(files.values())).parent) as folder:
        model.save_pretrained(folder)
        base = BaseModelSpec(model=folder)
        return check_parity(base, None, tokenizer, files, talks, spec=ExportSpec(**spec))


def round_to_f16(model: Any) -> None:
    """Rounds every matrix of a model to the nearest f16 value, in place, so that F16 holds it exactly."""
    import torch

    with torch.no_grad():
        for weight in model.parameters():
            if weight.dim() > 1:
                weight.copy_(weight.to(torch.float16).to(weight.dtype))


def edit_field(path: Path, key: str, value: float | int) -> None:
    """Writes another number into a scalar field of a GGUF, in place."""
    from gguf import GGUFReader

    reader = GGUFReader(path, "r+")
    reader.fields[key].parts[-1][0] = value
    reader.data.flush()


def edit_text(path: Path, key: str, old: bytes, new: bytes) -> None:
    """Writes other letters, as many, into a text field of a GGUF, in place."""
    from gguf import GGUFReader

    reader = GGUFReader(path, "r+")
    part = reader.fields[key].parts[-1]
    text = bytes(part)
    assert old in text, f"{key} of {path.name} does not hold {old!r}"
    assert len(old) == len(new)
    part[:] = list(text.replace(old, new))
    reader.data.flush()


def edit_tensor(path: Path, name: str, change: Callable[[Any], None]) -> None:
    """Changes the bytes `(rows, bytes)` of a tensor in a GGUF, in place."""
    import numpy as np
    from gguf import GGUFReader

    reader = GGUFReader(path, "r+")
    data = next(tensor.data for tensor in reader.tensors if tensor.name == name)
    change(data.view(np.uint8).reshape(data.shape[0], -1))
    reader.data.flush()
