"""Does a router answer? `python deploy/smoke.py URL --model NAME --key-file FILE [--version V]`

It is alive (`/healthz`), takes traffic (`/readyz`), lists the model, and answers a question, at once and streamed; with
`--version`, that version answers (the key needs the scope admin then). Exits 1 with the first thing that is not so. It
needs the standard library alone.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ANSWER_S = 60.0


class SmokeError(Exception):
    """What is not as it should be, in one line."""


@dataclass(frozen=True)
class Router:
    """A router's address and a key to it."""

    url: str
    key: str = ""

    def send(
        self,
        method: str,
        path: str,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
        timeout_s: float = ANSWER_S,
    ) -> tuple[int, Mapping[str, str], bytes]:
        """Status, headers and body of an answer; 4xx and 5xx are answers too.

        Raises:
            SmokeError: nobody answers.
        """
        request = urllib.request.Request(self.url.rstrip("/") + path, method=method)
        request.add_header("user-agent", "flytewheel-deploy")
        if self.key:
            request.add_header("authorization", f"Bearer {self.key}")
        for name, value in (headers or {}).items():
            request.add_header(name, value)
        data = None
        if body is not None:
            request.add_header("content-type", "application/json")
            data = json.dumps(body).encode()
        try:
            with _OPENER.open(request, data=data, timeout=timeout_s) as answer:
                return answer.status, {name.lower(): value for name, value in answer.headers.items()}, answer.read()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, {name.lower(): value for name, value in error.headers.items()}, error.read()
        except OSError as error:
            raise SmokeError(f"{method} {self.url}{path}: {error}") from None

    def ask(self, path: str, method: str = "GET", body: Any = None, headers: Mapping[str, str] | None = None) -> Any:
        """The JSON of an answer that has to be one.

        Raises:
            SmokeError: it is not.
        """
        status, _, text = self.send(method, path, body, headers)
        if not 200 <= status < 300:
            raise SmokeError(f"{method} {path}: {status} {text[:300].decode(errors='replace')}")
        return json.loads(text)


class _Stay(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *given: Any, **named: Any) -> None:
        """A key goes to no other address."""


_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}), _Stay)


def wait_ready(router: Router, timeout_s: float) -> None:
    """Returns when `/readyz` says 200.

    Raises:
        SmokeError: it did not in time; what it said last.
    """
    deadline = time.monotonic() + timeout_s
    said = "nothing"
    while True:
        try:
            status, _, text = router.send("GET", "/readyz", timeout_s=5)
            if status == 200:
                return
            said = f"{status} {text[:200].decode(errors='replace')}"
        except SmokeError as fault:
            said = str(fault)
        if time.monotonic() > deadline:
            raise SmokeError(f"not ready within {timeout_s:g} s: {said}")
        time.sleep(0.2)


def ask_model(router: Router, model: str, *, stream: bool = False, version: str = "") -> str:
    """Asks the model something; the version that answered.

    Raises:
        SmokeError: there is no whole answer, or another version gave it.
    """
    body = {"model": f"flytewheel/{model}", "messages": [{"role": "user", "content": "Say hello."}], "stream": stream}
    headers = {"x-flytewheel-user": "smoke test"} | ({"x-flytewheel-want-version": version} if version else {})
    status, told, text = router.send("POST", "/v1/chat/completions", {**body, "max_tokens": 16}, headers)
    if status != 200:
        raise SmokeError(f"chat with {model}: {status} {text[:300].decode(errors='replace')}")
    if stream:
        if b"data: [DONE]" not in text:
            raise SmokeError(f"chat with {model}: the stream broke off after {len(text)} bytes")
    elif not json.loads(text)["choices"]:
        raise SmokeError(f"chat with {model}: no choices in {text[:300].decode(errors='replace')}")
    answered = told.get("x-flytewheel-version", "")
    if version and answered != version:
        raise SmokeError(f"chat with {model}: version {answered or 'unknown'} answered, {version} was asked for")
    return answered


def smoke(router: Router, model: str, *, version: str = "", ready_s: float = 60.0) -> str:
    """Everything that a new router has to do before it gets traffic; the version that answered.

    Raises:
        SmokeError: the first thing that it does not do.
    """
    wait_ready(router, ready_s)
    router.ask("/healthz")
    listed = [each["id"] for each in router.ask("/v1/models")["data"]]
    if f"flytewheel/{model}" not in listed:
        raise SmokeError(f"/v1/models does not list flytewheel/{model}: {', '.join(listed) or 'nothing'}")
    answered = ask_model(router, model, version=version)
    ask_model(router, model, stream=True, version=version)
    return answered


def read_key(path: Path | None) -> str:
    """The key in a mounted file; none without a file."""
    return path.read_text(encoding="utf-8").strip() if path else ""


def main(arguments: list[str] | None = None) -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("url")
    parser.add_argument("--model", required=True)
    parser.add_argument("--key-file", type=Path)
    parser.add_argument("--version", default="")
    parser.add_argument("--ready-s", type=float, default=60.0)
    options = parser.parse_args(arguments)
    router = Router(options.url, read_key(options.key_file))
    try:
        answered = smoke(router, options.model, version=options.version, ready_s=options.ready_s)
    except (SmokeError, ValueError, KeyError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(f"{options.url}: {options.model} {answered} answers")
    return 0


if __name__ == "__main__":
    sys.exit(main())
