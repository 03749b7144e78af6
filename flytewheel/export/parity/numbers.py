"""Whether the numbers in a file are those that were trained, block by block; and a model with those numbers.

Each tensor is decoded again by gguf's own code and held against the trained rows. Rounding must cost something, and how
much is known: the same rows are rounded once more, and a block (as many numbers as share a scale) may be off by at most
`MAX_ERROR` times what that costs (root of the squared error of the block). So the bound needs no constant for a kind,
and one wrong block in a model of billions of numbers is found, which no distribution would show.

It says nothing about names, order of rows or options: those come from the same plan that the file was written by. What
llama.cpp makes of them is asked by `divergence`.

The file's numbers take the model's own place on the way, so `divergence` can ask transformers what they cost.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flytewheel.errors import ExportError
from flytewheel.export.convert import read_rows
from flytewheel.export.families import PlannedTensor, find_family
from flytewheel.export.parity.reference import plain_name
from flytewheel.export.parity.rounding import decode_rows, round_rows
from flytewheel.export.source import Source

MAX_ERROR = 1.05  # of a block, in units of what rounding it must cost
_ULP = {"F32": 2.0**-23, "BF16": 2.0**-8, "F16": 2.0**-11}  # of a float: a sum in another order may end beside it
_SCALE_ULP = 2.0**-11  # scales of blocks are f16
_CHUNK_NUMBERS = 1 << 20


@dataclass(frozen=True, slots=True)
class FileTensor:
    """A tensor as it lies in a file: shape (rows first), type, and its bytes `(rows, bytes)`, mapped."""

    name: str
    shape: tuple[int, ...]
    kind: str
    data: Any


def read_tensors(path: Path) -> dict[str, FileTensor]:
    """The tensors of a GGUF by name, not read yet.

    Raises:
        ExportError: it is no GGUF.
    """
    import numpy as np
    from gguf import GGUFReader

    try:
        tensors = GGUFReader(path).tensors
    except (ValueError, OSError, IndexError, KeyError) as error:
        raise ExportError(f"{path.name}: is no whole GGUF ({' '.join(str(error).split())[:120]})") from None
    found = {}
    for tensor in tensors:
        shape = tuple(int(size) for size in reversed(tensor.shape))
        rows = math.prod(shape[:-1])
        data = tensor.data.view(np.uint8).reshape(rows, -1) if shape else tensor.data
        found[str(tensor.name)] = FileTensor(str(tensor.name), shape, str(tensor.tensor_type.name), data)
    return found


def plan_tensors(source: Source) -> list[PlannedTensor]:
    """Where the trained tensors go, as the converter planned it."""
    return list(find_family(source.config).plan(source.config, source.tensors))


def name_kinds(planned: Sequence[PlannedTensor], tensors: Mapping[str, FileTensor]) -> dict[str, str]:
    """Tensor type in a file by the tensor's plain name; a tied output matrix has that of the embedding."""
    kinds = {
        plain_name(str(tensor.source)): tensors[tensor.name].kind
        for tensor in planned
        if tensor.source is not None and tensor.name in tensors
    }
    return {"lm_head.weight": next((kinds[name] for name in kinds if "embed_tokens" in name), "F32"), **kinds}


def round_model(
    model: Any,
    source: Source,
    planned: Sequence[PlannedTensor],
    tensors: Mapping[str, FileTensor],
    *,
    check: str | None = None,
) -> float:
    """Puts the source's numbers into a model, each tensor rounded to the type that it has in a file; where that file is
    checked, the numbers in it.

    Args:
        model: In transformers, of the same shape; changed in place.
        source: The weights to round.
        planned: Where they go.
        tensors: Of the file.
        check: The file's name: its numbers are held against the source's on the way. None: only its types are read.

    Returns:
        The largest error of a block in units of what rounding it must cost; 0 where nothing is checked.

    Raises:
        ExportError: a tensor is missing, too many, of another shape, or holds other numbers.
    """
    import torch

    odd = {tensor.name for tensor in planned} ^ set(tensors)
    if odd:
        where = "has no" if min(odd) not in tensors else "has a tensor that the trained model has not:"
        raise ExportError(f"{check or 'the file'}: {where} {min(odd)}; it is of another model")
    parameters = dict(model.named_parameters()) | dict(model.named_buffers())
    worst = 0.0
    with torch.no_grad():
        for tensor in planned:
            target = _find_target(parameters, tensor)
            found = tensors[tensor.name]
            if found.shape != tensor.shape:
                raise ExportError(
                    f"{check or 'the file'}: {tensor.name} is {found.shape}, the trained model has {tensor.shape}"
                )
            for start, stop, rows in _read(source, tensor):
                flat = rows.reshape(stop - start, -1) if rows.ndim > 1 else rows.reshape(1, -1)
                rounded = numbers = round_rows(flat, found.kind)
                if check is not None:
                    at = slice(start, stop) if rows.ndim > 1 else slice(0, 1)
                    numbers = decode_rows(found.data[at], found.kind).reshape(flat.shape)
                    error = _measure_error(flat, rounded, numbers, found.kind, f"{check}: {tensor.name}", start)
                    worst = max(worst, error)
                if target is not None:
                    _put(target, tensor, start, stop, torch.from_numpy(numbers.reshape(rows.shape)))
    return worst


def fill_model(model: Any, source: Source, planned: Sequence[PlannedTensor]) -> None:
    """Puts the source's numbers into a model as they are."""
    import torch

    parameters = dict(model.named_parameters()) | dict(model.named_buffers())
    with torch.no_grad():
        for tensor in planned:
            target = _find_target(parameters, tensor)
            if target is not None:
                for start, stop, rows in _read(source, tensor):
                    _put(target, tensor, start, stop, torch.from_numpy(rows))


def _find_target(parameters: Mapping[str, Any], tensor: PlannedTensor) -> Any:
    if tensor.source is None:
        return None
    if tensor.source in parameters:
        return parameters[tensor.source]
    plain = plain_name(tensor.source)
    found = [name for name in parameters if plain_name(name) == plain]
    if len(found) != 1:
        raise ExportError(f"{tensor.source} is no tensor of the model in transformers; parity cannot be asked of it")
    return parameters[found[0]]


def _put(target: Any, tensor: PlannedTensor, start: int, stop: int, rows: Any) -> None:
    import torch

    at = slice(start, stop) if tensor.order is None else torch.from_numpy(tensor.order[start:stop].copy())
    target[at] = rows - tensor.shift if tensor.shift else rows


def _read(source: Source, tensor: PlannedTensor) -> Iterator[tuple[int, int, Any]]:
    """Rows in fp32 by ranges, as the file holds them before it rounds."""
    rows = tensor.shape[0]
    step = rows if len(tensor.shape) == 1 else max(1, _CHUNK_NUMBERS // math.prod(tensor.shape[1:]))
    for start in range(0, rows, step):
        stop = min(start + step, rows)
        yield start, stop, read_rows(source, tensor, start, stop)


def _measure_error(trained: Any, rounded: Any, written: Any, kind: str, where: str, first_row: int) -> float:
    """The largest error of a block, in units of what rounding it must cost; arrays are `(rows, columns)`.

    Raises:
        ExportError: it is more than `MAX_ERROR`.
    """
    import gguf
    import numpy as np

    block = int(gguf.GGML_QUANT_SIZES[gguf.GGMLQuantizationType[kind]][0])
    if block == 1:
        block = math.gcd(trained.shape[1], 32)
    shape = (trained.shape[0], -1, block)
    blocks = trained.reshape(shape).astype(np.float64)
    with np.errstate(over="ignore", invalid="ignore"):
        error = np.sqrt(np.square(written.reshape(shape) - blocks).sum(axis=2))
    least = np.sqrt(np.square(rounded.reshape(shape) - blocks).sum(axis=2))
    ulp = _ULP.get(kind, _SCALE_ULP / 8)
    least = np.maximum(least, ulp * np.sqrt(np.square(blocks).sum(axis=2)) + np.finfo(np.float32).tiny)
    ratio = error / least
    worst = np.unravel_index(np.argmax(np.where(np.isnan(ratio), np.inf, ratio)), ratio.shape)
    if not ratio[worst] <= MAX_ERROR:
        row, column = first_row + int(worst[0]), int(worst[1]) * block
        raise ExportError(
            f"{where}: the {block} numbers from row {row}, column {column} are off by {ratio[worst]:.3g} times what "
            f"{kind} must cost (at most {MAX_ERROR:g}): a damaged block, another tensor, or another model's file"
        )
    return float(ratio[worst])
