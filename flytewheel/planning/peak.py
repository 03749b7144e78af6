"""The most memory that this process held so far."""

from __future__ import annotations

from flytewheel.training.footprint import read_resident_peak


def read_peak(kind: str) -> int:
    """Bytes at the peak: of the card where `kind` is cuda (what torch's allocator reserved), else of the process.

    On Linux the figure of `getrusage` begins with what the process that started this one held; `VmHWM` does not.
    """
    if kind == "cuda":
        import torch

        return int(torch.cuda.max_memory_reserved())
    return read_resident_peak()
