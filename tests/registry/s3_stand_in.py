"""Object stores that a real one at hand cannot play: refusing keys, hanging, or right in all but one promise."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar
from urllib.parse import parse_qs, urlsplit
from xml.sax.saxutils import escape


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    behaviour: ClassVar[str] = "right"
    objects: ClassVar[dict[str, list[bytes | None]]]  # every state of every key, None where it was deleted
    served: ClassVar[set[tuple[str, int]]]  # states that were read stale once
    lock: ClassVar[threading.Lock]
    done: ClassVar[threading.Event]

    def log_message(self, *_: object) -> None:
        """Says nothing: the tests print enough."""

    def answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.behaviour == "hangs":
            self.done.wait(30)
        elif self.behaviour == "refuses keys":
            self.say(403, b"<Error><Code>InvalidAccessKeyId</Code><Message>unknown key</Message></Error>")
        elif self.behaviour == "web page":
            self.say(200 if self.command == "HEAD" else 418, b"<html>hello</html>", kind="text/html")
        else:
            with self.lock:
                self.keep(body)

    do_GET = do_PUT = do_DELETE = do_HEAD = answer  # noqa: N815 - the names http.server calls

    def keep(self, body: bytes) -> None:
        """An S3 store of one bucket, with the one fault of `behaviour`."""
        path = urlsplit(self.path).path
        states = self.objects.setdefault(path, [])
        now = states[-1] if states else None
        if self.command == "PUT" and not self.allowed(now):
            self.say(412, b"<Error><Code>PreconditionFailed</Code><Message>no</Message></Error>")
        elif self.command == "PUT":
            if self.behaviour == "text mode":
                body = body.replace(b"\r\n", b"\n")
            if self.behaviour != "forgets replacements" or "If-Match" not in self.headers:
                states.append(body)
            self.say(200, b"", etag=self.etag(body))
        elif self.command == "DELETE":
            states.append(None)
            self.say(204, b"")
        elif "list-type" in parse_qs(urlsplit(self.path).query):
            self.say(200, self.listing(path, parse_qs(urlsplit(self.path).query).get("prefix", [""])[0]))
        else:
            self.read(path, states)

    def allowed(self, now: bytes | None) -> bool:
        create, match = self.headers.get("If-None-Match"), self.headers.get("If-Match")
        if self.behaviour == "careless" or (self.behaviour == "no If-Match" and match):
            return True
        if create:
            return now is None
        return match is None or (now is not None and match.strip('"') == self.etag(now))

    def read(self, path: str, states: list[bytes | None]) -> None:
        found = states[-1] if states else None
        if self.behaviour == "stale reads" and len(states) > 3 and (path, len(states)) not in self.served:
            self.served.add((path, len(states)))
            found = states[-2]
        if found is None:
            return self.say(404, b"<Error><Code>NoSuchKey</Code><Message>none</Message></Error>")
        start = int((self.headers.get("Range") or "bytes=0-")[6:].split("-")[0])
        if start and self.behaviour != "no ranges":
            return self.say(206, found[start:], etag=self.etag(found))
        self.say(200, found, etag=self.etag(found))

    def listing(self, bucket: str, prefix: str) -> bytes:
        back = 2 if self.behaviour == "stale listings" else 1
        keys = [
            (path.removeprefix(f"{bucket.rstrip('/')}/"), states[-back])
            for path, states in sorted(self.objects.items())
            if len(states) >= back and states[-back] is not None
        ]
        rows = "".join(
            f"<Contents><Key>{escape(key)}</Key><Size>{len(data or b'')}</Size>"
            f"<LastModified>2026-11-21T12:00:00.000Z</LastModified><ETag>{self.etag(data or b'')}</ETag></Contents>"
            for key, data in keys
            if key.startswith(prefix)
        )
        name = bucket.strip("/")
        return (
            f"<ListBucketResult><Name>{name}</Name><IsTruncated>false</IsTruncated>{rows}</ListBucketResult>".encode()
        )

    def etag(self, data: bytes) -> str:
        return hashlib.md5(data[:5] if self.behaviour == "weak ETags" else data).hexdigest()

    def say(self, status: int, body: bytes, *, kind: str = "application/xml", etag: str = "") -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Last-Modified", "Sat, 21 Nov 2026 12:00:00 GMT")
        if etag:
            self.send_header("ETag", f'"{etag}"')
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


@contextmanager
def serve(behaviour: str) -> Iterator[str]:
    """Serves on a free loopback port until the block ends; yields the URL."""
    done = threading.Event()
    handler = type(
        "Handler",
        (_Handler,),
        {"behaviour": behaviour, "objects": {}, "served": set(), "lock": threading.Lock(), "done": done},
    )
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
