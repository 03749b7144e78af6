"""A short real generation before a version gets traffic: weights read, graph built, chat template rendered.

What answers `/health` may still fail the first chat (no memory for the context, a template that its server cannot
render, a key without a budget). It costs a few tokens, and takes the first user's wait.
"""

from __future__ import annotations

import asyncio
import time
from typing import Any

import aiohttp
import orjson

from flytewheel.errors import RouterError
from router.backends.backend import Status
from router.paths import CHAT, COMPLETIONS, EMBEDDINGS

WARM_UP_S = 120.0  # a large model on a CPU reads its weights from the disk meanwhile
_TOKENS = 4
_WORD = "Hello"
# Some servers know `max_completion_tokens` only, and a base without a chat template completes text.
_TRIES: tuple[tuple[str, dict[str, Any]], ...] = (
    (CHAT, {"messages": [{"role": "user", "content": _WORD}], "max_tokens": _TOKENS}),
    (CHAT, {"messages": [{"role": "user", "content": _WORD}], "max_completion_tokens": 16}),
    (COMPLETIONS, {"prompt": _WORD, "max_tokens": _TOKENS}),
    (EMBEDDINGS, {"input": _WORD}),
)


async def warm_up(session: aiohttp.ClientSession, status: Status, *, timeout_s: float = WARM_UP_S) -> float:
    """Has a version say a few tokens; returns the seconds that it took.

    Raises:
        RouterError: it does not, with what its server says.
    """
    began = time.monotonic()
    said = "it answers none of the known paths"
    try:
        async with asyncio.timeout(timeout_s):
            for path, body in _TRIES:
                if path not in status.endpoints:
                    continue
                code, answer = await _post(session, status, path, body)
                if code == 200 and _has_answer(answer):
                    return time.monotonic() - began
                said = f"{path} answered {code}: {_read_said(answer)}"
                if status.own or code not in {400, 404, 422}:  # ours can chat, or something is wrong with the version
                    break
    except TimeoutError:
        said = f"no answer within {timeout_s:g} s"
    except (aiohttp.ClientError, OSError) as error:
        said = str(error) or type(error).__name__
    raise RouterError(f"{status.alias} does not answer a first prompt, so it gets no traffic: {said}")


async def _post(session: aiohttp.ClientSession, status: Status, path: str, body: dict[str, Any]) -> tuple[int, Any]:
    full = {**body, "model": status.alias, **status.fields}
    if path != EMBEDDINGS:
        full["temperature"] = 0
    async with session.post(
        status.url + path,
        data=orjson.dumps(full),
        headers={"content-type": "application/json", **status.headers},
        allow_redirects=False,
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=5.0),
    ) as answer:
        text = await answer.read()
    try:
        return answer.status, orjson.loads(text)
    except orjson.JSONDecodeError:
        return answer.status, text.decode(errors="replace")


def _has_answer(answer: Any) -> bool:
    return isinstance(answer, dict) and any(isinstance(answer.get(key), list) for key in ("choices", "data"))


def _read_said(answer: Any) -> str:
    said = answer
    if isinstance(answer, dict):
        said = answer.get("error") or answer.get("message") or answer
        said = said.get("message", said) if isinstance(said, dict) else said
    return " ".join(str(said).split())[:200] or "nothing"
