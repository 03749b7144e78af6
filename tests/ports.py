"""Ports for servers that are to come back on the same one."""

from __future__ import annotations

import random
import socket
from contextlib import suppress

_PORTS = random.SystemRandom()
_given: set[int] = set()


def free_port() -> int:
    """A port that stays free until it is listened on, also while its router is down.

    The system gives ports from 32768 on to connections that go out (Linux; others begin higher), so one of those may be
    taken by any of them at any moment. These below are taken by nobody but another call of this, in another process.
    """
    while True:
        port = _PORTS.randrange(15_000, 32_000)
        if port not in _given:
            with socket.socket() as probe, suppress(OSError):
                probe.bind(("127.0.0.1", port))
                _given.add(port)
                return port
