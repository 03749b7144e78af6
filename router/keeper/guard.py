"""The first process of a router: has the listening socket, starts the keeper, and starts it again when it was killed.

It is small, does nothing else, and so has nothing to fall over; who is killed for its memory is the keeper. Between the
two goes a byte at a time over a pair of sockets: `END` and `REPLACE` one way, since a signal to the whole group of
processes would reach the keeper twice; `SERVES`, `CLOSES` and a new number of workers the other.

A killed keeper's workers go on answering by their last table, until the next keeper's workers serve. What tells them is
a pipe for each keeper, of which the guard has the writing end (`Life`): it is closed when the next one serves, and by
the kernel when the guard ends, however that comes about.
"""

from __future__ import annotations

import ctypes
import logging
import os
import select
import signal
import socket
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

logger = logging.getLogger("router.guard")

END, REPLACE = b"t", b"h"
SERVES, CLOSES = b"s", b"c"
WORKERS = 128  # plus how many: a word, too
STEADY_S = 30.0  # a keeper that lived so long is started again at once
LONGEST_PAUSE_S = 5.0
LAST_ANSWERS_S = 15.0  # after the end of a keeper, for workers that another one had left behind

_ADOPT = 36  # PR_SET_CHILD_SUBREAPER of prctl.h
_TOLD = {signal.SIGTERM: END, signal.SIGINT: END, signal.SIGHUP: REPLACE}


@dataclass(frozen=True, slots=True)
class Link:
    """A keeper's end: what it hears and says, how many keepers there were before, how many workers it is to have, and
    their pipe.
    """

    socket: socket.socket
    life: int
    earlier: int
    workers: int

    def say(self, word: bytes) -> None:
        """Says one word to the guard."""
        with suppress(OSError):  # it has ended, which is heard, too
            self.socket.send(word)


@dataclass(slots=True)
class _Keeper:
    pid: int
    socket: socket.socket
    life: int
    began: float
    served: bool = False


class Guard:
    """Runs `keep(link)`, which gives an exit code, in a child process, as often as it takes."""

    def __init__(self, listener: socket.socket, workers: int, keep: Callable[[Link], int]) -> None:
        self._listener = listener
        self._workers = workers
        self._keep = keep
        self._started = 0
        self._left: list[int] = []  # the pipes of keepers that were killed
        self._told, self._heard = socket.socketpair()
        self._told.setblocking(False)
        self._heard.setblocking(False)

    def run(self) -> int:
        """Returns the exit code of the last keeper, in the first process; in a child, that child's own."""
        self._catch_signals()
        _adopt_orphans()
        pause_s = 0.0
        while True:
            keeper = self._start()
            if isinstance(keeper, int):
                return keeper
            code, asked = self._watch(keeper)
            killed = code != 0 and (keeper.served or self._started > 1)
            if asked or not killed:
                self._close(keeper)
                return code
            lived_s = time.monotonic() - keeper.began
            pause_s = 0.0 if lived_s > STEADY_S else min(LONGEST_PAUSE_S, max(0.1, 2 * pause_s))
            logger.error("the keeper ended with code %d; its workers go on, and another one is started", code)
            keeper.socket.close()
            self._left.append(keeper.life)
            if END in self._wait(None, pause_s):
                self._close(None)
                return 0

    def _start(self) -> _Keeper | int:
        ours, theirs = socket.socketpair()
        read, write = os.pipe()
        sys.stdout.flush()
        sys.stderr.flush()
        self._started += 1
        pid = os.fork()
        if pid == 0:
            for life in (write, *self._left):
                os.close(life)
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            for end in (ours, self._told, self._heard):
                end.close()
            theirs.setblocking(False)
            return self._keep(Link(theirs, read, self._started - 1, self._workers))
        theirs.close()
        os.close(read)
        ours.setblocking(False)
        return _Keeper(pid, ours, write, time.monotonic())

    def _watch(self, keeper: _Keeper) -> tuple[int, bool]:
        """Passes words on until the keeper has ended; its exit code, and whether it had been told to end."""
        asked = False
        while True:
            for word in self._wait(keeper, None):
                asked = asked or word == END
                with suppress(OSError):
                    keeper.socket.send(word)
            code = None
            with suppress(ChildProcessError):
                while (found := os.waitpid(-1, os.WNOHANG))[0]:
                    if found[0] == keeper.pid:
                        code = os.waitstatus_to_exitcode(found[1])
            if code is not None:
                return (128 - code if code < 0 else code), asked

    def _wait(self, keeper: _Keeper | None, timeout_s: float | None) -> list[bytes]:
        """Waits for signals and for words of the keeper; what signals mean."""
        heard = [self._heard] + ([keeper.socket] if keeper is not None and keeper.socket.fileno() >= 0 else [])
        ready, _, _ = select.select(heard, [], [], timeout_s)
        if keeper is not None and keeper.socket in ready:
            self._hear(keeper)
        if self._heard not in ready:
            return []
        return [_TOLD[each] for number in self._heard.recv(64) if (each := signal.Signals(number)) in _TOLD]

    def _hear(self, keeper: _Keeper) -> None:
        words = b""
        with suppress(OSError):
            words = keeper.socket.recv(64)
        if not words:
            keeper.socket.close()  # it ends, or has
        if SERVES in words:
            keeper.served = True
            self._dismiss()
        for word in words:
            if word > WORKERS:
                self._workers = word - WORKERS
        if CLOSES in words:
            self._listener.close()

    def _dismiss(self) -> None:
        """Workers of keepers that are gone end after their answers."""
        for life in self._left:
            os.close(life)
        self._left.clear()

    def _close(self, keeper: _Keeper | None) -> None:
        self._listener.close()
        self._dismiss()
        if keeper is not None:
            os.close(keeper.life)
            keeper.socket.close()
        deadline = time.monotonic() + LAST_ANSWERS_S
        with suppress(ChildProcessError):  # none is left
            while time.monotonic() < deadline:
                if not os.waitpid(-1, os.WNOHANG)[0]:
                    self._wait(None, 0.1)

    def _catch_signals(self) -> None:
        for each in (*_TOLD, signal.SIGCHLD):
            signal.signal(each, lambda *_: None)  # no SIG_IGN, which children would inherit
        signal.set_wakeup_fd(self._told.fileno(), warn_on_full_buffer=False)


def _adopt_orphans() -> None:
    """Makes children of a killed keeper ours, so that they are waited for; elsewhere than on Linux nobody does."""
    if sys.platform.startswith("linux"):
        ctypes.CDLL(None).prctl(_ADOPT, 1, 0, 0, 0)
