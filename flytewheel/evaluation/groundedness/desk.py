"""Checks answers for another process, a line of JSON each way: `python -m flytewheel.evaluation.groundedness.desk`.

A check takes some 7 ms of CPU and holds the interpreter while it does, so a server that answers requests has it done
here. In: `{"id", "answer", "texts": […]}`; out: `{"id", "spans", "unsupported", "kinds": {kind: count}}`, in order. The
end of the input ends it, also when the other process was killed; it gives way to whoever else wants the processor.
"""

from __future__ import annotations

import os
import sys
from collections import Counter
from collections.abc import Iterable
from contextlib import suppress
from typing import Any, BinaryIO

import orjson

from flytewheel.evaluation.groundedness.support import check

NICE = 10


def check_answer(asked: dict[str, Any]) -> dict[str, Any]:
    """The counts of one answer: spans that could be checked, and those that no text holds, by kind."""
    checked = check(asked["answer"], asked["texts"])
    return {
        "id": asked["id"],
        "spans": len(checked.spans),
        "unsupported": len(checked.unsupported),
        "kinds": dict(Counter(span.kind for span in checked.unsupported)),
    }


def serve(lines: Iterable[bytes], out: BinaryIO) -> None:
    """Answers line by line until there are no more."""
    for line in lines:
        out.write(orjson.dumps(check_answer(orjson.loads(line))) + b"\n")
        out.flush()


def main() -> None:
    with suppress(OSError):
        os.nice(NICE)
    with suppress(BrokenPipeError, KeyboardInterrupt):
        serve(sys.stdin.buffer, sys.stdout.buffer)


if __name__ == "__main__":
    main()
