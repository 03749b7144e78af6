"""Writes a model that a test made in memory as a GGUF, by way of a folder as training leaves it."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from flytewheel.export.convert import Conversion, write_gguf
from flytewheel.export.source import Source


def write_model(model: Any, tokenizer: Any, path: Path) -> Conversion:
    """Saves the model as safetensors and writes it in F16 to `path`."""
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        model.save_pretrained(folder)
        with Source(Path(folder)) as source:
            return write_gguf(source, tokenizer, path, name="tiny")
