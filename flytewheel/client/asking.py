"""The clients: `Client`, and `AsyncClient` for an event loop. Both over httpx, without following redirects."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from types import TracebackType
from typing import Any, Self

import httpx
import orjson

from flytewheel.client.answers import Answer, Proofs, read_answer
from flytewheel.client.events import RETRIED, Result, Retry, build_event, read_result, read_results, split_batches
from flytewheel.client.refusals import RefusedError, UnreachableError

_CHAT, _FEEDBACK = "/v1/chat/completions", "/v1/feedback"
_JSON = {"content-type": "application/json"}

Messages = str | Sequence[Mapping[str, Any]]


class _Base:
    def __init__(self, retry: Retry | None, chance: random.Random | None, kept: int | None) -> None:
        self._proofs = Proofs() if kept is None else Proofs(kept)
        self._retry = retry or Retry()
        self._chance = chance or random.Random()

    def keep(self, headers: Mapping[str, str]) -> Answer:
        """Takes the proof out of an answer's headers, whoever asked for it, and keeps it by the interaction's id.

        Raises:
            RouterError: they are not those of a routed model's answer.
        """
        return self._proofs.keep(read_answer(headers))

    def _finish_chat(self, response: httpx.Response) -> Answer:
        body = _read_body(response)
        return self._proofs.keep(read_answer(response.headers, body))

    def _next_wait(self, attempt: int, last: httpx.Response | httpx.TransportError) -> float:
        """How long to wait before trying again.

        Raises:
            UnreachableError: that was the last attempt.
        """
        if attempt + 1 >= self._retry.attempts:
            what = f"answered {last.status_code}" if isinstance(last, httpx.Response) else type(last).__name__
            raise UnreachableError(f"no attempt of {self._retry.attempts} reached the router: {what}") from None
        asked = last.headers.get("retry-after") if isinstance(last, httpx.Response) else None
        return self._retry.wait_s(attempt, asked, self._chance)


class Client(_Base):
    """Asks and tells, one thing after another; safe to share between threads.

    Args:
        url: the router's, `http(s)://host[:port]`.
        api_key: sent as a Bearer token; feedback with a receipt needs none.
        timeout_s: of one request.
        retry: of feedback. A question is asked once: its answer may have been given.
        transport: of httpx, to speak another way than TCP.
        chance: spreads waits.
        pause: waits, seconds.
        kept: receipts that are kept by id, the latest ones.
    """

    def __init__(
        self,
        url: str,
        api_key: str | None = None,
        *,
        timeout_s: float = 60.0,
        retry: Retry | None = None,
        transport: httpx.BaseTransport | None = None,
        chance: random.Random | None = None,
        pause: Callable[[float], None] = time.sleep,
        kept: int | None = None,
    ) -> None:
        super().__init__(retry, chance, kept)
        self._pause = pause
        self._http = httpx.Client(
            base_url=url.rstrip("/"), headers=_authorize(api_key), timeout=timeout_s, transport=transport
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Closes the connections."""
        self._http.close()

    def chat(self, model: str, messages: Messages, *, user: str | None = None, **options: Any) -> Answer:
        """Asks a model and waits for the whole answer; `options` go into the body as they are.

        Raises:
            RefusedError: the router or the model refused.
            UnreachableError: nobody answered.
        """
        try:
            return self._finish_chat(self._http.post(_CHAT, json=_build_chat(model, messages, user, options)))
        except httpx.TransportError as error:
            raise UnreachableError(f"the router did not answer: {type(error).__name__}") from None

    def feedback(self, answer: Answer | str, feedback_type: str, **fields: Any) -> Result:
        """Says what an answer was worth: `feedback_type` and fields as `POST /v1/feedback` has them.

        Raises:
            RefusedError: it is refused, for good.
            UnreachableError: the router was away in all attempts.
        """
        event = build_event(self._proofs, {**fields, "answer": answer, "feedback_type": feedback_type})
        return read_result(*self._send(orjson.dumps(event)))

    def feedback_batch(self, events: Iterable[Mapping[str, Any]]) -> list[Result]:
        """Says many things at once, in as few requests as the limits allow; a result for each, in order.

        Args:
            events: each with `answer` and either `feedback_type` or `observed`.

        Raises:
            UnreachableError: the router was away in all attempts. Sending the same again is safe where the events have
                ids of their own (`event_id`).
        """
        results: list[Result] = []
        for count, body in split_batches([build_event(self._proofs, event) for event in events]):
            results += read_results(*self._send(body), count)
        return results

    def _send(self, body: bytes) -> tuple[int, bytes]:
        for attempt in range(self._retry.attempts):
            last: httpx.Response | httpx.TransportError
            try:
                last = self._http.post(_FEEDBACK, content=body, headers=_JSON)
                if last.status_code not in RETRIED:
                    return last.status_code, last.content
            except httpx.TransportError as error:
                last = error
            self._pause(self._next_wait(attempt, last))
        raise AssertionError("unreachable")


class AsyncClient(_Base):
    """Asks and tells from an event loop; see `Client` for the arguments."""

    def __init__(
        self,
        url: str,
        api_key: str | None = None,
        *,
        timeout_s: float = 60.0,
        retry: Retry | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
        chance: random.Random | None = None,
        pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
        kept: int | None = None,
    ) -> None:
        super().__init__(retry, chance, kept)
        self._pause = pause
        self._http = httpx.AsyncClient(
            base_url=url.rstrip("/"), headers=_authorize(api_key), timeout=timeout_s, transport=transport
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Closes the connections."""
        await self._http.aclose()

    async def chat(self, model: str, messages: Messages, *, user: str | None = None, **options: Any) -> Answer:
        """As `Client.chat`."""
        try:
            return self._finish_chat(await self._http.post(_CHAT, json=_build_chat(model, messages, user, options)))
        except httpx.TransportError as error:
            raise UnreachableError(f"the router did not answer: {type(error).__name__}") from None

    async def feedback(self, answer: Answer | str, feedback_type: str, **fields: Any) -> Result:
        """As `Client.feedback`."""
        event = build_event(self._proofs, {**fields, "answer": answer, "feedback_type": feedback_type})
        return read_result(*await self._send(orjson.dumps(event)))

    async def feedback_batch(self, events: Iterable[Mapping[str, Any]]) -> list[Result]:
        """As `Client.feedback_batch`."""
        results: list[Result] = []
        for count, body in split_batches([build_event(self._proofs, event) for event in events]):
            results += read_results(*await self._send(body), count)
        return results

    async def _send(self, body: bytes) -> tuple[int, bytes]:
        for attempt in range(self._retry.attempts):
            last: httpx.Response | httpx.TransportError
            try:
                last = await self._http.post(_FEEDBACK, content=body, headers=_JSON)
                if last.status_code not in RETRIED:
                    return last.status_code, last.content
            except httpx.TransportError as error:
                last = error
            await self._pause(self._next_wait(attempt, last))
        raise AssertionError("unreachable")


def _authorize(api_key: str | None) -> dict[str, str]:
    return {"authorization": f"Bearer {api_key}"} if api_key else {}


def _build_chat(model: str, messages: Messages, user: str | None, options: Mapping[str, Any]) -> dict[str, Any]:
    if options.get("stream"):
        raise RefusedError(422, "chat waits for the whole answer; for a stream ask with OpenAI's client and `keep` it")
    turns = [{"role": "user", "content": messages}] if isinstance(messages, str) else list(messages)
    return {"model": model, "messages": turns, **({"user": user} if user is not None else {}), **options}


def _read_body(response: httpx.Response) -> dict[str, Any]:
    try:
        body = response.json()
    except ValueError:
        body = None
    if response.status_code != 200 or not isinstance(body, dict):
        error = body.get("error") if isinstance(body, dict) else None
        message = error.get("message") if isinstance(error, dict) else response.text[:200]
        raise RefusedError(response.status_code, str(message))
    return body
