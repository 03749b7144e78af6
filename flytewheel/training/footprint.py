"""The most memory that a training took, on whatever it runs.

| device | what is read |
|---|---|
| CUDA | `torch.cuda.max_memory_allocated`, since `begin` |
| MPS | what the driver gave out, as Metal keeps no peak: the largest reading |
| CPU | the peak of the process's resident memory: since `begin` on Linux, of its whole life elsewhere |
"""

from __future__ import annotations

import contextlib
import re
import resource
import sys
from pathlib import Path

GIB = 1 << 30
_STATUS, _CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")
_RESET_PEAK = "5"  # proc(5): the peak becomes what is resident now


class Footprint:
    """Reads the peak of one training on a device of `kind`: `cuda`, `mps` or `cpu`."""

    def __init__(self, kind: str) -> None:
        self._kind = kind
        self._most = 0

    def begin(self) -> None:
        """Forgets what was before."""
        if self._kind == "cuda":
            import torch

            torch.cuda.reset_peak_memory_stats()
        elif self._kind == "cpu":
            with contextlib.suppress(OSError):  # not Linux, or not allowed: then it is the peak of the whole process
                _CLEAR.write_text(_RESET_PEAK)

    def read(self) -> int:
        """The peak so far, in bytes."""
        if self._kind == "cuda":
            import torch

            now = int(torch.cuda.max_memory_allocated())
        elif self._kind == "mps":
            import torch

            now = int(torch.mps.driver_allocated_memory())
        else:
            now = read_resident_peak()
        self._most = max(self._most, now)
        return self._most


def read_resident_peak() -> int:
    """Bytes of resident memory at the peak."""
    try:
        found = re.search(r"^VmHWM:\s+(\d+) kB", _STATUS.read_text(encoding="ascii", errors="replace"), re.MULTILINE)
    except OSError:
        found = None
    if found:
        return int(found[1]) * 1024
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024
