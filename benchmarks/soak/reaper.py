"""Ends what a soak started, also where the soak itself was killed: a process that waits for its parent's end.

It is told each process by pid and start time on its standard input; when that closes, whoever of them still lives is
killed, with its children. Run as `python -m benchmarks.soak.reaper`.
"""

from __future__ import annotations

import signal
import subprocess
import sys
from contextlib import suppress

import psutil


class Reaper:
    """The other end: tell it what to end."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.soak.reaper"],
            stdin=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def watch(self, pid: int) -> None:
        """Has this process ended with us."""
        with suppress(psutil.NoSuchProcess, BrokenPipeError):
            assert self._process.stdin is not None
            self._process.stdin.write(f"{pid} {psutil.Process(pid).create_time()}\n")
            self._process.stdin.flush()

    def close(self) -> None:
        """Ends everything that still lives, and waits for that."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(30)


def reap(told: list[str]) -> None:
    """Kills the processes of these lines and what they started."""
    found: list[psutil.Process] = []
    for line in told:
        pid, _, created = line.partition(" ")
        with suppress(psutil.NoSuchProcess):
            process = psutil.Process(int(pid))
            if abs(process.create_time() - float(created)) < 0.1:  # not a later one with the same pid
                found += [process, *process.children(recursive=True)]
    for process in found:
        with suppress(psutil.NoSuchProcess):
            process.kill()


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    reap(list(sys.stdin))
