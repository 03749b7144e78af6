"""The redactor's child process: `python -m router.log.redacting`, one JSON array of conversations a line in and out."""

from __future__ import annotations

import signal
import sys

import orjson

from flytewheel.pii import redact_conversations


def main() -> None:
    """Redacts what it is told until its parent is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for line in sys.stdin.buffer:
        done = [texts for texts, _ in redact_conversations(orjson.loads(line))]
        sys.stdout.buffer.write(orjson.dumps(done) + b"\n")
        sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
