"""Writes a trained model as GGUF, in every kind asked for, in one pass over its weights: a range of rows is read,
merged, put in llama.cpp's order, and written to every file in that file's own type. Neither a merged model nor an F16
file in between is ever stored, and no more than one range of rows for each thread is in memory.

Every kind is rounded once, from the merged fp32 numbers. Each file is, byte for byte, what `llama_model_quantize` makes
of the F32 file: its order of tensors, its types (`tensor_types`), its keys. Sizes follow from the plan, so a disk that
is too small is refused before the first byte, and threads write at places that are known beforehand: how many there are
changes nothing in the files.
"""

from __future__ import annotations

import math
import os
import shutil
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flytewheel.errors import ExportError
from flytewheel.export.families import PlannedTensor, find_family
from flytewheel.export.ggml import encode_rows, row_bytes
from flytewheel.export.header import Layout, lay_out, pack_keys
from flytewheel.export.identity import write_identity
from flytewheel.export.source import Source
from flytewheel.export.tensor_types import KINDS, ModelFacts, TensorTypes, check_written, order_names, plan_types
from flytewheel.export.vocabulary import Match, write_vocabulary

CHUNK_NUMBERS = 1 << 20  # of a tensor at once, 4 MiB in fp32: a quarter, or twice as many, took the same CPU time
ROOM_BYTES = 64 << 20  # that must be left on the disk, for reports and for others
_ROWS = 16  # a range begins at a multiple of it

Progress = Callable[[str, int, int | None], None]


@dataclass(frozen=True, slots=True)
class Conversion:
    """What was written: llama.cpp's architecture and pre-tokenizer, for which text alone its ids are the tokenizer's,
    the number of tensors, and their types by kind.
    """

    architecture: str
    pre_tokenizer: str
    limits: tuple[str, ...]
    tensors: int
    types: Mapping[str, TensorTypes]


@dataclass(frozen=True, slots=True)
class _File:
    """A file that is being written: where each tensor begins, and its type."""

    kind: str
    path: Path
    types: Mapping[str, str]
    layout: Layout
    handle: int


def write_gguf(source: Source, tokenizer: Any, path: Path, *, name: str, kind: str = "F16") -> Conversion:
    """Writes the model and its tokenizer to `path` in one kind; see `write_kinds`."""
    return write_kinds(source, tokenizer, {kind: path}, name=name)


def write_kinds(
    source: Source,
    tokenizer: Any,
    files: Mapping[str, Path],
    *,
    name: str,
    threads: int = 1,
    reserve: int = 0,
    progress: Progress | None = None,
) -> Conversion:
    """Writes the model and its tokenizer in every kind of `files`; the same weights give the same bytes.

    Args:
        source: The trained model.
        tokenizer: Its tokenizer.
        files: Where to, by kind (`tensor_types.KINDS`). Written in place: the caller gives temporary names and renames.
        name: `general.name` of the files.
        threads: That merge and quantise at the same time; each needs some 30 MiB.
        reserve: Bytes that the caller will write beside them, and wants room for.
        progress: Told the MiB written, and in all.

    Raises:
        ExportError: the architecture, its options or the tokenizer cannot be written faithfully, a weight does not fit
            a type, or the disk is too small.
    """
    family = find_family(source.config)
    planned = {tensor.name: tensor for tensor in family.plan(source.config, source.tensors)}
    planned = {tensor: planned[tensor] for tensor in order_names(list(planned))}
    shapes = {tensor.name: tensor.shape for tensor in planned.values()}
    writer, vocabulary = _describe(source, tokenizer, name=name)
    facts, keys = _read_facts(family.architecture, writer), pack_keys(writer)
    types = {kind: plan_types(kind, shapes, facts) for kind in files}
    layouts = {kind: lay_out(keys, KINDS[kind].file_type, shapes, types[kind]) for kind in files}
    sizes = {kind: layout.size for kind, layout in layouts.items()}
    _require_room(files, sizes, reserve)
    with ExitStack() as stack:
        opened = [_open_file(kind, path, types[kind], layouts[kind], stack) for kind, path in files.items()]
        told = _count(files, sum(len(layout.header) for layout in layouts.values()), sizes, progress)
        _write_tensors(source, planned, opened, threads=threads, told=told)
        for file in opened:  # the padding behind the last tensor
            with _told_plainly(file.path):
                os.truncate(file.handle, file.layout.size)
    return Conversion(
        family.architecture,
        vocabulary.layout.pre,
        vocabulary.limits,
        len(planned),
        {kind: check_written(path, kind, types[kind]) for kind, path in files.items()},
    )


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


def _describe(source: Source, tokenizer: Any, *, name: str) -> tuple[Any, Match]:
    """A writer that knows all keys but the kind's; and how the vocabulary was written."""
    import gguf

    family = find_family(source.config)
    writer = gguf.GGUFWriter(None, family.architecture)
    write_identity(writer, source.folder, name)
    family.write_options(writer, source.config)
    return writer, write_vocabulary(writer, tokenizer, source.config.vocab_size, source.folder)


def _read_facts(architecture: str, writer: Any) -> ModelFacts:
    """What the plan of types asks of a model, from the keys that llama.cpp will read it from."""

    def read(key: str) -> int:
        value = getattr(writer.kv_data[0].get(f"{architecture}.{key}"), "value", 0)
        return int(value[0] if isinstance(value, list | tuple) else value)

    return ModelFacts(
        architecture,
        layers=read("block_count"),
        heads=read("attention.head_count"),
        kv_heads=read("attention.head_count_kv"),
        experts=read("expert_count"),
    )


def _require_room(files: Mapping[str, Path], sizes: Mapping[str, int], reserve: int) -> None:
    """Refuses a disk that cannot hold the files."""
    folder = next(iter(files.values())).parent
    needed, free = sum(sizes.values()) + reserve + ROOM_BYTES, shutil.disk_usage(folder).free
    if free < needed:
        raise ExportError(
            f"{folder}: {', '.join(files)} need {needed >> 20} MiB on the disk, {free >> 20} MiB are free; make room, "
            "or ask for fewer kinds (export.quantizations)"
        )


def _open_file(kind: str, path: Path, types: Mapping[str, str], layout: Layout, stack: ExitStack) -> _File:
    """Opens a file and writes its header."""
    with _told_plainly(path):
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    stack.callback(os.close, handle)
    file = _File(kind, path, types, layout, handle)
    _write_at(file, memoryview(layout.header), 0)
    return file


def _write_tensors(
    source: Source,
    planned: Mapping[str, PlannedTensor],
    files: list[_File],
    *,
    threads: int,
    told: Callable[[int], None],
) -> None:
    with _one_thread_each(), ThreadPoolExecutor(max(1, threads)) as pool:
        waiting: deque[Future[int]] = deque()
        try:
            for tensor in planned.values():
                for start, stop in _ranges(tensor.shape):
                    if len(waiting) > 2 * threads:
                        told(waiting.popleft().result())
                    waiting.append(pool.submit(_write_range, source, tensor, start, stop, files))
            while waiting:
                told(waiting.popleft().result())
        finally:
            for left in waiting:
                left.cancel()


def _write_range(source: Source, tensor: PlannedTensor, start: int, stop: int, files: list[_File]) -> int:
    """Writes a range of rows to every file, each type computed once; returns the bytes written."""
    import numpy as np

    rows = np.ascontiguousarray(read_rows(source, tensor, start, stop))
    rows = rows.reshape(-1, tensor.shape[-1] if len(tensor.shape) > 1 else 1)
    encoded: dict[str, memoryview] = {}
    written = 0
    for file in files:
        of = file.types[tensor.name]
        if of not in encoded:
            found = encode_rows(rows, of)
            if found is None:
                held = "f16 cannot hold (largest is 65504)" if of == "F16" else f"{of} cannot hold"
                raise ExportError(f"{tensor.source} holds a weight that {held}; the model is broken")
            encoded[of] = found
        each = math.prod(tensor.shape[1:-1]) if len(tensor.shape) > 2 else 1
        columns = tensor.shape[-1] if len(tensor.shape) > 1 else 1
        _write_at(file, encoded[of], file.layout.begins[tensor.name] + start * each * row_bytes(of, columns))
        written += len(encoded[of])
    return written


def _write_at(file: _File, data: memoryview, at: int) -> None:
    with _told_plainly(file.path):
        while data:
            put = os.pwrite(file.handle, data, at)
            data, at = data[put:], at + put


@contextmanager
def _told_plainly(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise ExportError(
            f"{path}: cannot be written ({error.strerror}); make room on the disk and export again"
        ) from error


def _ranges(shape: tuple[int, ...]) -> Iterator[tuple[int, int]]:
    columns = max(1, math.prod(shape[1:]))
    rows = max(_ROWS, CHUNK_NUMBERS // columns // _ROWS * _ROWS)
    for start in range(0, shape[0], rows):
        yield start, min(start + rows, shape[0])


def _count(
    files: Mapping[str, Path], done: int, sizes: Mapping[str, int], progress: Progress | None
) -> Callable[[int], None]:
    """Adds up bytes, from those `done`, and tells progress."""
    what, whole = f"writing {', '.join(files)} (MiB)", sum(sizes.values())

    def add(written: int) -> None:
        nonlocal done
        done += written
        if progress is not None:
            progress(what, done >> 20, whole >> 20)

    add(0)
    return add


@contextmanager
def _one_thread_each() -> Iterator[None]:
    """Keeps torch from starting threads of its own inside ours."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
