"""Asks a model behind an OpenAI-compatible `/v1/chat/completions`: retries, refusals and kept answers, for every
station that has a model to ask.

An endpoint that is away, or refuses the key, ends the work with one line that says what to do; a single question that
it will not take (too long, against its policy) has no answer. Answers are kept in files named by what they depend on,
each written whole: whoever asks the same again asks nobody.
"""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import httpx

from flytewheel.errors import EndpointError
from flytewheel.recipe import EndpointSpec

ATTEMPTS = 5

_FIRST_WAIT_S = 0.5
_LONGEST_WAIT_S = 30.0
_RETRIED = frozenset({408, 409, 425, 429, 500, 502, 503, 504, 529})
_REFUSED = {401: "refuses the key", 403: "refuses the key", 404: "knows no such model or path"}

Item = TypeVar("Item")
Found = TypeVar("Found")


class ChatEndpoint:
    """One endpoint, asked for one purpose.

    Args:
        spec: the endpoint; its address ends before `/chat/completions`.
        purpose: what it is called in messages, such as `paraphraser`.
        remedy: what else can be done while it is away, as the end of a sentence.
        pause: how to wait between two attempts, in seconds.

    Raises:
        EndpointError: its key is not set.
    """

    def __init__(
        self, spec: EndpointSpec, *, purpose: str, remedy: str, pause: Callable[[float], None] = time.sleep
    ) -> None:
        self._spec = spec
        self._purpose = purpose
        self._remedy = remedy
        self._pause = pause
        self._away = threading.Event()
        self._url = f"{spec.url.rstrip('/')}/chat/completions"
        self._headers = {"Accept": "application/json"}
        if spec.api_key_env is not None:
            key = os.environ.get(spec.api_key_env, "").strip()
            if not key:
                raise EndpointError(f"{purpose} {spec.url}: expected its key in ${spec.api_key_env}, which is not set")
            self._headers["Authorization"] = f"Bearer {key}"

    def ask_all(self, ask: Callable[[httpx.Client, Item], Found], items: Sequence[Item]) -> list[Found]:
        """Runs `ask` on every item, `concurrency` at a time, in their order; after one failure nobody asks on."""

        def guard(item: Item) -> Found:
            try:
                return ask(client, item)
            except BaseException:
                self._away.set()  # for the others too, before another of them begins
                raise

        with (
            httpx.Client(headers=self._headers, timeout=self._spec.timeout_s) as client,
            ThreadPoolExecutor(self._spec.concurrency) as pool,
        ):
            self._away.clear()
            try:
                return list(pool.map(guard, items))
            except BaseException:
                self._away.set()
                pool.shutdown(wait=False, cancel_futures=True)
                raise

    def post(self, client: httpx.Client, body: dict[str, Any]) -> str | None:
        """The model's reply to `body` (its model is filled in); `None` where it gives none to this question.

        Raises:
            EndpointError: the endpoint is away after all attempts, or refuses.
        """
        named = {**({} if self._spec.model is None else {"model": self._spec.model}), **body}
        content = json.dumps(named).encode()
        trouble = ""
        for attempt in range(ATTEMPTS):
            if self._away.is_set():
                return None
            wait = min(_LONGEST_WAIT_S, _FIRST_WAIT_S * 2**attempt)
            try:
                response = client.post(self._url, content=content)
            except httpx.HTTPError as error:
                trouble = f"is not reachable ({str(error) or type(error).__name__})"
            else:
                if response.status_code == 200:
                    return _read_answer(response)
                if response.status_code in _REFUSED:
                    raise EndpointError(
                        f"{self._purpose} {self._url} {_REFUSED[response.status_code]} {self._name_settings()}"
                    )
                if response.status_code not in _RETRIED:
                    return None  # this question it will not take: too long, or against its policy
                trouble = f"answers {response.status_code} {response.reason_phrase}".rstrip()
                wait = min(_LONGEST_WAIT_S, _read_wait(response) or wait)
            if attempt < ATTEMPTS - 1:
                self._pause(wait)
        raise EndpointError(
            f"{self._purpose} {self._url} {' '.join(trouble.split())} after {ATTEMPTS} attempts; start it, or "
            f"{self._remedy}"
        )

    def _name_settings(self) -> str:
        return (
            f"(HTTP {'/'.join(map(str, sorted(_REFUSED)))}; model {self._spec.model!r}); check url, model, api_key_env"
        )


def keep(folder: Path | None, name: str, value: Any) -> None:
    """Writes `value` under `name` in `folder`, whole or not at all; without a folder, nowhere."""
    if folder is None:
        return
    path = _locate(folder, name)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(f".{os.getpid()}-{os.urandom(4).hex()}.part")
    part.write_text(json.dumps(value), encoding="utf-8")
    part.replace(path)


def recall(folder: Path | None, name: str) -> Any:
    """What was kept under `name`; `None` where nothing was, or no JSON is left of it."""
    if folder is None:
        return None
    try:
        return json.loads(_locate(folder, name).read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return None


def _locate(folder: Path, name: str) -> Path:
    return folder / name[:2] / f"{name}.json"


def _read_answer(response: httpx.Response) -> str | None:
    try:
        content = response.json()["choices"][0]["message"]["content"]
    except (ValueError, KeyError, IndexError, TypeError, RecursionError):
        return None
    return content if isinstance(content, str) else None


def _read_wait(response: httpx.Response) -> float | None:
    """What the endpoint asks to wait, in seconds; a date is not worth reading."""
    try:
        return max(0.0, float(response.headers["retry-after"]))
    except (KeyError, ValueError):
        return None
