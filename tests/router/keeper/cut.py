"""A way to a server that can be cut, and joined again, under the same address."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress

from tests.ports import free_port


class Cut:
    """Passes every connection on to `port` of loopback until it is cut; then refuses, and drops those that run."""

    def __init__(self, port: int) -> None:
        self._target = port
        self._running: set[socket.socket] = set()
        self._listener: socket.socket | None = None
        self._changing = threading.Lock()
        self.port = free_port()
        self.join()

    def join(self) -> None:
        """Takes connections from now on."""
        self._listener = listener = socket.create_server(("127.0.0.1", self.port))
        threading.Thread(target=self._take, args=(listener,), daemon=True).start()

    def cut(self) -> None:
        """Nobody gets through any more."""
        with self._changing:
            if self._listener is not None:
                with suppress(OSError):
                    self._listener.shutdown(socket.SHUT_RDWR)
                self._listener.close()
                self._listener = None
            for one in self._running:
                with suppress(OSError):
                    one.shutdown(socket.SHUT_RDWR)

    def _take(self, listener: socket.socket) -> None:
        with suppress(OSError):
            while True:
                near, _ = listener.accept()
                self._join_both(near, listener)

    def _join_both(self, near: socket.socket, listener: socket.socket) -> None:
        try:
            far = socket.create_connection(("127.0.0.1", self._target))
        except OSError:
            near.close()
            return
        with self._changing:
            if self._listener is not listener:  # cut meanwhile
                near.close()
                far.close()
                return
            self._running |= {near, far}
        for pair in ((near, far), (far, near)):
            threading.Thread(target=self._pass, args=pair, daemon=True).start()

    def _pass(self, source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(1 << 16):
                target.sendall(data)
        for one in (source, target):
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
        with self._changing:
            self._running.discard(source)
            source.close()
