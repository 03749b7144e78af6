"""Object stores that a real one at hand cannot play: refusing keys, ignoring conditions, hanging."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    behaviour: ClassVar[str] = "careless"
    objects: ClassVar[dict[str, bytes]] = {}
    done: ClassVar[threading.Event]

    def log_message(self, *_: object) -> None:
        """Says nothing: the tests print enough."""

    def answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.behaviour == "hangs":
            self.done.wait(30)
            return
        if self.behaviour == "refuses keys":
            self.say(403, b"<Error><Code>InvalidAccessKeyId</Code><Message>unknown key</Message></Error>")
        elif self.behaviour == "web page":
            self.say(200 if self.command == "HEAD" else 418, b"<html>hello</html>", kind="text/html")
        elif self.command == "PUT":
            self.objects[self.path] = body
            self.say(200, b"", etag=hashlib.md5(body).hexdigest())
        elif self.command == "DELETE":
            self.objects.pop(self.path, None)
            self.say(204, b"")
        elif self.path in self.objects:
            self.say(200, self.objects[self.path], etag=hashlib.md5(self.objects[self.path]).hexdigest())
        else:
            self.say(404, b"<Error><Code>NoSuchKey</Code><Message>none</Message></Error>")

    do_GET = do_PUT = do_DELETE = do_HEAD = answer  # noqa: N815 - the names http.server calls

    def say(self, status: int, body: bytes, *, kind: str = "application/xml", etag: str = "") -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        if etag:
            self.send_header("ETag", f'"{etag}"')
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


@contextmanager
def serve(behaviour: str) -> Iterator[str]:
    """Serves on a free loopback port until the block ends; yields the URL."""
    done = threading.Event()
    handler = type("Handler", (_Handler,), {"behaviour": behaviour, "objects": {}, "done": done})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        done.set()
        server.shutdown()
        thread.join()
        server.server_close()
