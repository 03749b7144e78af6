"""Tensors of a safetensors file, read by ranges of rows at their place in the file.

Read, not mapped: pages of a mapped file count as memory of the process that touched them, and a model streamed through
a mapping looks as if it had been loaded whole. The header is judged by safetensors' own parser before it is read here.
"""

from __future__ import annotations

import json
import math
import os
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from flytewheel import weights
from flytewheel.errors import ExportError

_TYPES = {"F64": ("float64", 8), "F32": ("float32", 4), "F16": ("float16", 2), "BF16": ("bfloat16", 2)}


@dataclass(frozen=True, slots=True)
class StoredTensor:
    """A tensor in an open file: its shape, the type that it is stored in (`BF16`, `F16` …), and where it begins."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    path: Path
    file: int
    offset: int

    def read(self, start: int, stop: int) -> Any:
        """Rows `start` to `stop` as a fp32 torch tensor `(stop - start, …)`; safe in many threads at once.

        Raises:
            ExportError: the file ends before the rows do, or holds another type than floating point.
        """
        import numpy as np
        import torch

        if self.dtype not in _TYPES:
            raise ExportError(
                f"{self.path}: {self.name} is stored as {self.dtype}, expected {', '.join(_TYPES)}; take the model "
                "that is not quantised"
            )
        dtype, size = _TYPES[self.dtype]
        row = math.prod(self.shape[1:]) * size
        raw = np.empty(max(0, stop - start) * row, dtype=np.uint8)
        view, at = raw.data, self.offset + start * row
        while view:
            got = os.preadv(self.file, [view], at)
            if not got:
                raise ExportError(f"{self.path}: ends inside {self.name}; bring the file again, it is cut short")
            view, at = view[got:], at + got
        found = torch.from_numpy(raw).view(getattr(torch, dtype)).reshape(-1, *self.shape[1:])
        return found.to(torch.float32)


class TensorFile:
    """An open safetensors file; a context manager."""

    def __init__(self, path: Path) -> None:
        """Opens the file and reads where its tensors are.

        Raises:
            BaseModelError: it is no sound safetensors.
        """
        weights.check_file(path)
        self._file = os.open(path, os.O_RDONLY)
        try:
            length = int.from_bytes(os.pread(self._file, 8, 0), "little")
            header = json.loads(os.pread(self._file, length, 8))
        except BaseException:
            os.close(self._file)
            raise
        self.tensors = {
            name: StoredTensor(
                name, tuple(told["shape"]), told["dtype"], path, self._file, 8 + length + told["data_offsets"][0]
            )
            for name, told in header.items()
            if name != "__metadata__"
        }

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._file)
