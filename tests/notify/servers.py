"""Real servers on loopback that messages are sent to: HTTP, and as much of SMTP (RFC 5321) as smtplib speaks."""

from __future__ import annotations

import base64
import json
import socketserver
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from email import message_from_bytes, policy
from email.message import EmailMessage
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Heard:
    """What a server was told. `answers` are its next ones, the last for ever; `hold` lets none of them out."""

    url: str = ""
    bodies: list[tuple[str, Any]] = field(default_factory=list)
    mails: list[EmailMessage] = field(default_factory=list)
    recipients: list[list[str]] = field(default_factory=list)
    logins: list[str] = field(default_factory=list)
    answers: list[tuple[int, dict[str, str]]] = field(default_factory=lambda: [(200, {})])
    hold: threading.Event | None = None

    def next_answer(self) -> tuple[int, dict[str, str]]:
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


@contextmanager
def run_http(answers: Sequence[tuple[int, dict[str, str]]] = ((200, {}),)) -> Iterator[Heard]:
    """An HTTP server that keeps what is posted to it."""
    heard = Heard(answers=list(answers))

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            heard.bodies.append((self.path, body))
            if heard.hold is not None:
                heard.hold.wait(60)
            status, headers = heard.next_answer()
            said = f"sorry for {self.path} of http://127.0.0.1:{self.server.server_port}{self.path}".encode()
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("content-length", str(len(said)))
            self.end_headers()
            self.wfile.write(said)

        do_GET = do_POST  # noqa: N815 - a redirect that is followed would come here

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    heard.url = f"http://127.0.0.1:{server.server_port}"
    yield from _serve(server, heard)


@contextmanager
def run_smtp(*, refuse: str = "") -> Iterator[Heard]:
    """An SMTP server that keeps its mails; `refuse` is what it says to a sender instead of taking one."""
    heard = Heard()

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            self._say("220 loopback")
            to: list[str] = []
            while line := self.rfile.readline().decode().strip():
                verb = line.split()[0].upper()
                if verb == "EHLO":
                    self._say("250-loopback\r\n250 AUTH PLAIN")
                elif verb == "AUTH":
                    heard.logins.append(base64.b64decode(line.split()[2]).decode())
                    self._say("235 welcome")
                elif verb == "MAIL" and refuse:
                    self._say(refuse)
                elif verb == "RCPT":
                    to.append(line.partition("<")[2].rstrip(">"))
                    self._say("250 ok")
                elif verb == "DATA":
                    self._say("354 go on")
                    data = bytearray()
                    while (part := self.rfile.readline()) != b".\r\n":
                        data += part.removeprefix(b".") if part.startswith(b"..") else part
                    heard.mails.append(message_from_bytes(bytes(data), policy=policy.default))  # type: ignore[arg-type]
                    heard.recipients.append(to)
                    self._say("250 taken")
                elif verb == "QUIT":
                    self._say("221 bye")
                    return
                else:
                    self._say("250 ok")

        def _say(self, text: str) -> None:
            self.wfile.write(f"{text}\r\n".encode())

    class Server(socketserver.ThreadingTCPServer):
        daemon_threads = True
        allow_reuse_address = True

    server = Server(("127.0.0.1", 0), Handler)
    heard.url = f"smtp://127.0.0.1:{server.server_address[1]}"
    yield from _serve(server, heard)


def _serve(server: socketserver.TCPServer, heard: Heard) -> Iterator[Heard]:
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield heard
    finally:
        if heard.hold is not None:
            heard.hold.set()
        server.shutdown()
        server.server_close()
        thread.join(10)
