"""Real hostile files: pickles that make a file at a given place when anything unpickles them, in every wrapping."""

from __future__ import annotations

import bz2
import gzip
import io
import pickle
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any


class Payload:
    """Unpickling it makes the file `mark`."""

    def __init__(self, mark: Path) -> None:
        self._mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self._mark,)


def _saved(mark: Path, *, zipped: bool) -> bytes:
    import torch

    buffer = io.BytesIO()
    torch.save({"weight": Payload(mark)}, buffer, _use_new_zipfile_serialization=zipped)
    return buffer.getvalue()


def _array(mark: Path) -> bytes:
    import numpy as np

    buffer = io.BytesIO()
    np.save(buffer, np.array([Payload(mark)], dtype=object), allow_pickle=True)
    return buffer.getvalue()


def _broken_off(mark: Path) -> bytes:
    """Ends in the middle, after its call: loading fails, and has run it all the same."""
    return pickle.dumps(Payload(mark), 0).removesuffix(b".") + b"\xff garbage"


WRAPPINGS: dict[str, Callable[[Path], bytes]] = {
    **{f"protocol {number}": lambda mark, number=number: pickle.dumps(Payload(mark), number) for number in range(6)},
    "broken off": _broken_off,
    "torch.save": lambda mark: _saved(mark, zipped=True),
    "torch.save, old": lambda mark: _saved(mark, zipped=False),
    "numpy objects": _array,
    "joblib zlib": lambda mark: zlib.compress(pickle.dumps(Payload(mark))),
    "joblib gzip": lambda mark: gzip.compress(pickle.dumps(Payload(mark))),
    "joblib bz2": lambda mark: bz2.compress(pickle.dumps(Payload(mark))),
}
