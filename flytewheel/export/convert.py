"""Writes a trained model as GGUF in F16, by ranges of rows: matrices f16, vectors f32, as llama.cpp's own converter
does. `source` reads and merges the rows, `families` says where they go, `vocabulary` writes the tokenizer; `parity`
tells whether what was written is right.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flytewheel.errors import ExportError
from flytewheel.export.families import PlannedTensor, find_family
from flytewheel.export.source import Source
from flytewheel.export.vocabulary import write_vocabulary

CHUNK_NUMBERS = 1 << 22  # of a tensor at once: 16 MiB in fp32


@dataclass(frozen=True, slots=True)
class Conversion:
    """What was written: llama.cpp's architecture and pre-tokenizer, and the number of tensors."""

    architecture: str
    pre_tokenizer: str
    tensors: int


def write_gguf(source: Source, tokenizer: Any, path: Path, *, name: str) -> Conversion:
    """Writes the model and its tokenizer to `path`; the same weights give the same bytes.

    Args:
        source: The trained model.
        tokenizer: Its tokenizer.
        path: Written in place: the caller gives a temporary name and renames.
        name: `general.name` of the file.

    Raises:
        ExportError: the architecture, its options or the tokenizer cannot be written faithfully, or a weight does not
            fit f16.
    """
    import gguf
    import numpy as np

    config = source.config
    family = find_family(config)
    writer = gguf.GGUFWriter(str(path), family.architecture)
    try:
        writer.add_name(name)
        writer.add_file_type(gguf.LlamaFileType.MOSTLY_F16)
        family.write_options(writer, config)
        pre = write_vocabulary(writer, tokenizer, config.vocab_size)
        planned = family.plan(config, source.tensors)
        for tensor in planned:
            dtype = np.dtype(np.float16 if len(tensor.shape) > 1 else np.float32)
            numbers = int(np.prod(tensor.shape))
            writer.add_tensor_info(tensor.name, tensor.shape, dtype, numbers * dtype.itemsize)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_ti_data_to_file()
        for tensor in planned:
            _write_tensor(writer, source, tensor)
    finally:
        writer.close()
    return Conversion(family.architecture, pre, len(planned))


def read_chunks(source: Source, tensor: PlannedTensor) -> Iterator[Any]:
    """The rows of a planned tensor in order, in fp32 arrays `(rows, …)` of about `CHUNK_NUMBERS` numbers."""
    import numpy as np

    if tensor.source is None:
        yield tensor.values
        return
    for start, stop in _ranges(tensor, max(1, CHUNK_NUMBERS // int(np.prod(tensor.shape[1:])))):
        yield read_rows(source, tensor, start, stop)


def read_rows(source: Source, tensor: PlannedTensor, start: int, stop: int) -> Any:
    """Rows `start` to `stop` of a planned tensor: a fp32 array `(stop - start, …)`."""
    import numpy as np

    if tensor.source is None:
        return np.asarray(tensor.values, dtype=np.float32)[start:stop]
    if tensor.order is None:
        part = source.rows(tensor.source, start, stop)
    else:  # the span of rows that these come from
        order = tensor.order[start:stop]
        first = int(order.min())
        part = source.rows(tensor.source, first, int(order.max()) + 1)[order - first]
    return part + np.float32(tensor.shift) if tensor.shift else part


def _ranges(tensor: PlannedTensor, rows: int) -> Iterator[tuple[int, int]]:
    for start in range(0, tensor.shape[0], rows):
        yield start, min(start + rows, tensor.shape[0])


def _write_tensor(writer: Any, source: Source, tensor: PlannedTensor) -> None:
    import numpy as np

    out = writer.fout[0]
    writer.write_padding(out, out.tell())
    dtype = np.float16 if len(tensor.shape) > 1 else np.float32
    written = 0
    with np.errstate(over="ignore"):
        for part in read_chunks(source, tensor):
            data = np.ascontiguousarray(part.astype(dtype))
            if not np.isfinite(data).all():
                raise ExportError(
                    f"{tensor.source} holds a weight that f16 cannot hold (largest is 65504); the model is broken"
                )
            out.write(data.tobytes())
            written += data.nbytes
    writer.write_padding(out, written)
