"""The most memory that this process held so far."""

from __future__ import annotations

import re
import resource
import sys
from pathlib import Path

_STATUS = Path("/proc/self/status")


def read_peak(kind: str) -> int:
    """Bytes at the peak: of the card where `kind` is cuda (what torch's allocator reserved), else of the process.

    On Linux the figure of `getrusage` begins with what the process that started this one held; `VmHWM` does not.
    """
    if kind == "cuda":
        import torch

        return int(torch.cuda.max_memory_reserved())
    if _STATUS.is_file():
        found = re.search(r"^VmHWM:\s+(\d+) kB", _STATUS.read_text(encoding="utf-8"), re.MULTILINE)
        if found is not None:
            return int(found.group(1)) * 1024
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024
