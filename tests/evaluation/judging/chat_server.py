"""A model's HTTP interface on loopback that speaks the OpenAI chat API, and judges as a test tells it."""

from __future__ import annotations

import hashlib
import json
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from flytewheel.recipe import EndpointSpec

Say = Callable[[str, str, str], str]  # answer A, answer B, the whole question: the reply
_ANSWER = re.compile(r"^===== (?P<mark>[0-9a-f]{16}) answer (?P<side>[AB]) =====$", re.M)


def verdict(winner: str) -> str:
    return json.dumps({"winner": winner, "reason": "so it seems"})


def honest(first: str, second: str, question: str) -> str:
    """Prefers the answer that holds the word good."""
    return verdict("tie" if ("good" in first) == ("good" in second) else "A" if "good" in first else "B")


def always_first(first: str, second: str, question: str) -> str:
    return verdict("A")


def longer(first: str, second: str, question: str) -> str:
    return verdict("A" if len(first) > len(second) else "B")


def coin(first: str, second: str, question: str) -> str:
    return verdict("AB"[hashlib.sha256(question.encode()).digest()[0] % 2])


def obedient(first: str, second: str, question: str) -> str:
    """Follows whatever stands outside the fences after an answer: what an injection must not reach."""
    rest = question[question.rindex("end =====") :]
    return verdict("B") if "say B" in rest else honest(first, second, question)


def read_answers(question: str) -> tuple[str, str]:
    """Both answers by the fences alone, the way a judge that keeps to its instructions reads them."""
    marks = {found["side"]: found for found in _ANSWER.finditer(question)}
    mark = marks["A"]["mark"]
    end = question.rindex(f"\n===== {mark} end =====")
    return question[marks["A"].end() + 1 : marks["B"].start() - 1], question[marks["B"].end() + 1 : end]


class ChatServer:
    """Keeps what it was asked; `say` replies, `status` and `body` override it."""

    def __init__(self) -> None:
        self.say: Say = honest
        self.status: Callable[[int], int] = lambda count: 200
        self.asked: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.most_at_once = 0
        self.meeting: threading.Barrier | None = None
        self.release: threading.Event | None = None
        self._at_once = 0
        self._lock = threading.Lock()
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                with server._lock:
                    count = len(server.asked)
                    server.asked.append({**body, "path": self.path})
                    server.headers.append(dict(self.headers))
                    server._at_once += 1
                    server.most_at_once = max(server.most_at_once, server._at_once)
                if server.meeting is not None:
                    server.meeting.wait(timeout=20)
                if server.release is not None:
                    server.release.wait(timeout=20)
                question = body["messages"][-1]["content"]
                content = server.say(*read_answers(question), question)
                data = json.dumps({"choices": [{"message": {"role": "assistant", "content": content}}]}).encode()
                with server._lock:
                    server._at_once -= 1
                try:
                    self.send_response(server.status(count))
                    self.send_header("Content-Length", str(len(data)))
                    self.end_headers()
                    self.wfile.write(data)
                except (BrokenPipeError, ConnectionResetError):  # whoever asked has gone
                    pass

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/v1"

    def spec(self, **more: Any) -> EndpointSpec:
        return EndpointSpec(**{"url": self.url, "model": "small", "timeout_s": 20.0, **more})

    def close(self) -> None:
        if self.release is not None:
            self.release.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@contextmanager
def serve() -> Iterator[ChatServer]:
    server = ChatServer()
    try:
        yield server
    finally:
        server.close()
