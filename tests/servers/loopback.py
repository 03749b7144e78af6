"""A server on a free port of loopback, in a thread, for stand-ins that check the protocol they are spoken to in."""

from __future__ import annotations

import json
import socket
import threading
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class ProtocolError(Exception):
    """The client broke the protocol: answered with `status` and kept for the test to see."""

    def __init__(self, status: int, said: str) -> None:
        super().__init__(said)
        self.status = status


class Handler(BaseHTTPRequestHandler, ABC):
    """Reads and writes whole bodies and streams; a subclass's `route` says what is answered."""

    protocol_version = "HTTP/1.1"
    server: Loopback

    def log_message(self, format: str, *arguments: Any) -> None:
        """Nothing is printed."""

    def handle_one_request(self) -> None:
        try:
            super().handle_one_request()
        except (ConnectionError, TimeoutError):
            self.close_connection = True

    def dispatch(self) -> None:
        self.server.seen.append((self.command, self.path))
        try:
            if not self.server.meet(self):
                self.route()
        except ProtocolError as error:
            self.server.faults.append(f"{self.command} {self.path}: {error}")
            self.close_connection = True
            self.answer(error.status, {"error": str(error)})
        except DroppedError:
            self.drop()

    do_GET = do_POST = do_HEAD = do_DELETE = dispatch  # noqa: N815

    @abstractmethod
    def route(self) -> None:
        """Answers one request that keeps to HTTP."""

    def read_pieces(self) -> Iterator[bytes]:
        """The body as it comes; its length is announced, or it is chunked."""
        announced = self.headers.get("content-length")
        if announced is not None:
            if self.headers.get("transfer-encoding"):
                raise ProtocolError(400, "both content-length and transfer-encoding")
            left = int(announced)
            while left:
                piece = self.rfile.read(min(left, 1 << 16))
                if not piece:
                    raise DroppedError
                left -= len(piece)
                yield piece
        elif self.headers.get("transfer-encoding", "").lower() == "chunked":
            while size := int(self.rfile.readline().split(b";")[0], 16):
                yield self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()

    def read_json(self, required: dict[str, type], optional: dict[str, Any] | None = None) -> dict[str, Any]:
        """A JSON object with exactly the fields that are known, each of its type."""
        if self.headers.get("content-type", "").split(";")[0] != "application/json":
            raise ProtocolError(415, f"content-type {self.headers.get('content-type')!r}, expected application/json")
        try:
            body = json.loads(b"".join(self.read_pieces()))
        except ValueError as error:
            raise ProtocolError(400, f"no JSON: {error}") from None
        known = {**required, **(optional or {})}
        if not isinstance(body, dict) or (unknown := set(body) - set(known)):
            raise ProtocolError(400, f"unknown fields {sorted(unknown) if isinstance(body, dict) else body!r}")
        for name, kind in known.items():
            if name in body and not isinstance(body[name], kind):
                raise ProtocolError(400, f"{name} is {body[name]!r}, expected {kind}")
            if name in required and name not in body:
                raise ProtocolError(400, f"{name} is missing")
        return body

    def answer(self, status: int, body: Any = None, *, content_type: str = "application/json") -> None:
        data = b"" if body is None else body.encode() if isinstance(body, str) else json.dumps(body).encode()
        self.send_response(status)
        self.send_header("content-type", content_type)
        self.send_header("content-length", str(len(data)))
        if self.close_connection:
            self.send_header("connection", "close")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def begin_stream(self, content_type: str) -> None:
        self.send_response(200)
        self.send_header("content-type", content_type)
        self.send_header("transfer-encoding", "chunked")
        self.end_headers()

    def send_piece(self, data: bytes) -> None:
        self.wfile.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")
        self.wfile.flush()

    def end_stream(self) -> None:
        self.wfile.write(b"0\r\n\r\n")

    def drop(self) -> None:
        """Closes the connection without another word."""
        self.close_connection = True
        self.connection.shutdown(socket.SHUT_RDWR)


class DroppedError(Exception):
    """The connection is to be cut here."""


class Loopback(ThreadingHTTPServer):
    """What was asked (`seen`), what broke the protocol (`faults`), and what is to go wrong (`plan`).

    `plan` maps "METHOD /path" to a status with a body, to `drop` (cut at once), or to `hang` (no answer until the
    server is closed); a path may be a beginning.
    """

    daemon_threads = True

    def __init__(self, handler: type[Handler], *, key: str | None = None) -> None:
        super().__init__(("127.0.0.1", 0), handler)
        self.seen: list[tuple[str, str]] = []
        self.faults: list[str] = []
        self.plan: dict[str, Any] = {}
        self.closing = threading.Event()
        self._authorization = key

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def meet(self, request: Handler) -> bool:
        """Does what was planned for this request, or checks the key; whether it is answered by that."""
        for wanted, what in self.plan.items():
            if f"{request.command} {request.path}".startswith(wanted):
                if what == "drop":
                    raise DroppedError
                if what == "hang":
                    self.closing.wait()
                    raise DroppedError
                status, body = what
                request.close_connection = True
                for _ in request.read_pieces():
                    pass
                request.answer(status, body)
                return True
        if self._authorization is not None and request.headers.get("authorization") != self._authorization:
            for _ in request.read_pieces():
                pass
            raise ProtocolError(401, "unauthorized")
        return False

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A handler that fails is a fault for the test to see."""
        import sys

        self.faults.append(repr(sys.exc_info()[1]))


@contextmanager
def running(server: Loopback) -> Iterator[Any]:
    """Serves while the block runs."""
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.closing.set()
        server.shutdown()
        server.server_close()
        thread.join()
