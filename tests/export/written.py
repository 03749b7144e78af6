"""Writes a model that a test made in memory as a GGUF, by way of a folder as training leaves it; and llama.cpp's own
quantiser, the oracle of ours.
"""

from __future__ import annotations

import ctypes
import tempfile
from pathlib import Path
from typing import Any

from flytewheel.export.convert import Conversion, write_kinds
from flytewheel.export.llamacpp import silence_log
from flytewheel.export.source import Source
from flytewheel.export.tensor_types import KINDS, TensorTypes, read_tensor_types


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
