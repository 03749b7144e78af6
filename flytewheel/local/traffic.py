"""Sends a demo's traffic: simulated people ask a served model over HTTP, read the answer, and say what they think of
it.

Real requests through the router, one user after another as `flytewheel.pocket.users` draws them; which arm a person
meets is the router's doing, and is read from the answer. The generator only talks to loopback unless it is told
otherwise: it is a demonstration, not a load test of somebody's service. Greedy answers and a fixed seed make a run
repeatable.
"""

from __future__ import annotations

import asyncio
import ipaddress
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol
from urllib.parse import urlsplit

import httpx

from flytewheel.errors import RouterError
from flytewheel.pocket.users import Opinion, Question, draw_questions, judge_answer
from flytewheel.records import build_prompt, to_jsonable

Judge = Callable[[Question, str], Opinion]


class Progress(Protocol):
    """Called with what is done, how much of it, and of how much in all."""

    def __call__(self, what: str, done: int, total: int | None, /) -> None: ...


@dataclass(frozen=True, slots=True)
class ArmReport:
    """What one arm met. Latencies are to the last token, in milliseconds; None without an answer."""

    arm: str
    versions: tuple[str, ...]
    users: int
    requests: int
    thumbs_up: int
    thumbs_down: int
    corrections: int
    errors: int
    fallbacks: int
    p50_ms: float | None
    p95_ms: float | None


@dataclass(frozen=True, slots=True)
class TrafficReport:
    """All that was sent. `errors` counts requests without an answer, also those whose arm is not known."""

    requests: int
    users: int
    errors: int
    feedback_events: int
    seconds: float
    arms: tuple[ArmReport, ...]
    first_error: str | None = None

    def describe(self) -> str:
        """A table for the terminal: how many reached each arm, and what they thought."""
        head = ("arm", "version", "users", "requests", "up", "down", "corrected", "errors", "p50 ms", "p95 ms")
        rows = [
            (
                arm.arm,
                ", ".join(arm.versions),
                *(str(count) for count in (arm.users, arm.requests, arm.thumbs_up, arm.thumbs_down, arm.corrections)),
                str(arm.errors),
                *("–" if value is None else f"{value:.0f}" for value in (arm.p50_ms, arm.p95_ms)),
            )
            for arm in self.arms
        ]
        widths = [max(len(row[column]) for row in (head, *rows)) for column in range(len(head))]
        lines = [
            "  ".join(
                cell.ljust(width) if column < 2 else cell.rjust(width)
                for column, (cell, width) in enumerate(zip(row, widths, strict=True))
            ).rstrip()
            for row in (head, *rows)
        ]
        lines.append(
            f"{self.requests} requests of {self.users} users, {self.feedback_events} feedback events,"
            f" {self.errors} errors, {self.seconds:.0f} s"
        )
        if self.first_error:
            lines.append(f"first error: {self.first_error}")
        return "\n".join(lines)


@dataclass(slots=True)
class _Turn:
    """One question's course."""

    user: str
    arm: str | None = None
    version: str | None = None
    latency_ms: float | None = None
    thumb: int = 0
    corrected: bool = False
    fallback: bool = False
    events: int = 0
    error: str | None = None


@dataclass(slots=True)
class _Crowd:
    client: httpx.AsyncClient
    headers: dict[str, str]
    model: str
    judge: Judge
    max_tokens: int
    progress: Progress | None
    total: int
    turns: list[_Turn] = field(default_factory=list)


def send_traffic(
    router_url: str,
    name: str,
    *,
    requests: int = 240,
    users: int = 120,
    seed: int = 7,
    api_key: str = "",
    system_prompt: str | None = None,
    concurrency: int = 4,
    max_tokens: int = 128,
    timeout_s: float = 60.0,
    allow_remote: bool = False,
    judge: Judge = judge_answer,
    progress: Progress | None = None,
) -> TrafficReport:
    """Sends `requests` questions of `users` people to `flytewheel/<name>` and their reactions after them.

    Args:
        router_url: `http://127.0.0.1:<port>`.
        name: Model name, without prefix.
        requests: How many questions.
        users: How many people ask them.
        seed: Decides the questions.
        api_key: Sent with every question; reactions show their receipts.
        system_prompt: Opens the prompt of a question that brings none, as in the recipe.
        concurrency: Requests under way at once.
        max_tokens: Longest answer, in tokens.
        timeout_s: Longest wait for one answer.
        allow_remote: Send to a host that is not this machine.
        judge: What a person thinks of an answer.
        progress: Told after each answer.

    Raises:
        RouterError: the host is not loopback, the router is away, or not one request was answered.
    """
    check_loopback(router_url, allow_remote=allow_remote)
    if requests < 1 or users < 1 or concurrency < 1:
        raise RouterError(f"traffic: expected at least 1 of each, got {requests=}, {users=}, {concurrency=}")
    questions = draw_questions(requests, seed, users=users)
    started = time.perf_counter()
    turns = asyncio.run(
        _send_all(
            router_url.rstrip("/"), api_key, f"flytewheel/{name}", questions, system_prompt, concurrency, max_tokens,
            timeout_s, judge, progress,
        )
    )  # fmt: skip
    failed = [turn for turn in turns if turn.error]
    if len(failed) == len(turns):
        raise RouterError(f"none of {len(turns)} requests to {router_url} was answered: {failed[0].error}")
    arms = sorted({turn.arm for turn in turns if turn.arm})
    return TrafficReport(
        requests=len(turns),
        users=len({turn.user for turn in turns}),
        errors=len(failed),
        feedback_events=sum(turn.events for turn in turns),
        seconds=time.perf_counter() - started,
        arms=tuple(_report_arm(arm, [turn for turn in turns if turn.arm == arm]) for arm in arms),
        first_error=failed[0].error if failed else None,
    )


def check_loopback(url: str, *, allow_remote: bool = False) -> None:
    """Refuses a URL whose host is not this machine.

    Raises:
        RouterError: no host, or one that is not loopback and was not allowed.
    """
    host = urlsplit(url).hostname
    if host is None:
        raise RouterError(f"router URL {url!r}: expected http://host:port")
    if allow_remote or host == "localhost":
        return
    try:
        local = ipaddress.ip_address(host).is_loopback
    except ValueError:
        local = False
    if not local:
        raise RouterError(
            f"simulated traffic goes to this machine only, not to {host}; allow it explicitly to go there"
        )


async def _send_all(
    url: str,
    api_key: str,
    model: str,
    questions: Sequence[Question],
    system_prompt: str | None,
    concurrency: int,
    max_tokens: int,
    timeout_s: float,
    judge: Judge,
    progress: Progress | None,
) -> list[_Turn]:
    pending = iter(questions)
    limits = httpx.Limits(max_connections=concurrency)
    async with httpx.AsyncClient(base_url=url, timeout=timeout_s, limits=limits, trust_env=False) as client:
        headers = {"authorization": f"Bearer {api_key}"} if api_key else {}
        crowd = _Crowd(client, headers, model, judge, max_tokens, progress, len(questions))

        async def work() -> None:
            for question in pending:  # shared by all workers: each question is taken once
                crowd.turns.append(await _ask(crowd, question, system_prompt))
                if progress is not None:
                    progress("requests answered", len(crowd.turns), crowd.total)

        await asyncio.gather(*(work() for _ in range(concurrency)))
    return crowd.turns


async def _ask(crowd: _Crowd, question: Question, system_prompt: str | None) -> _Turn:
    turn = _Turn(question.user_id)
    messages = build_prompt(question.query, system=question.system or system_prompt, context=question.context)
    body = {
        "model": crowd.model,
        "messages": to_jsonable(messages),
        "user": question.user_id,
        "temperature": 0,
        "max_tokens": crowd.max_tokens,
        "metadata": {"topic": question.topic},
    }
    started = time.perf_counter()
    try:
        answer = await crowd.client.post("/v1/chat/completions", json=body, headers=crowd.headers)
        turn.arm = answer.headers.get("x-flytewheel-arm")
        turn.version = answer.headers.get("x-flytewheel-version")
        turn.fallback = "x-flytewheel-fallback" in answer.headers
        answer.raise_for_status()
        turn.latency_ms = 1000 * (time.perf_counter() - started)
        text = answer.json()["choices"][0]["message"]["content"] or ""
        await _react(crowd, turn, crowd.judge(question, text), answer.headers)
    except httpx.HTTPStatusError as error:
        turn.error = f"{error.response.status_code} from {error.request.url.path}: {error.response.text[:200]}"
    except httpx.HTTPError as error:
        turn.error = str(error) or type(error).__name__
    return turn


async def _react(crowd: _Crowd, turn: _Turn, opinion: Opinion, headers: httpx.Headers) -> None:
    """Posts what the person says: a thumb, a correction, both, or nothing."""
    events: list[dict[str, Any]] = []
    if opinion.thumb:
        events.append({"feedback_type": "thumbs_up" if opinion.thumb > 0 else "thumbs_down"})
    if opinion.correction is not None:
        events.append({"feedback_type": "correction", "corrected_response": opinion.correction})
    proof = {"interaction_id": headers["x-flytewheel-interaction"], "receipt": headers["x-flytewheel-receipt"]}
    for event in events:
        (await crowd.client.post("/v1/feedback", json={**proof, **event})).raise_for_status()
        turn.events += 1
    turn.thumb, turn.corrected = opinion.thumb, opinion.correction is not None


def _report_arm(arm: str, turns: Sequence[_Turn]) -> ArmReport:
    latencies = sorted(turn.latency_ms for turn in turns if turn.latency_ms is not None)
    return ArmReport(
        arm=arm,
        versions=tuple(sorted({turn.version for turn in turns if turn.version})),
        users=len({turn.user for turn in turns}),
        requests=len(turns),
        thumbs_up=sum(turn.thumb > 0 for turn in turns),
        thumbs_down=sum(turn.thumb < 0 for turn in turns),
        corrections=sum(turn.corrected for turn in turns),
        errors=sum(turn.error is not None for turn in turns),
        fallbacks=sum(turn.fallback for turn in turns),
        p50_ms=find_percentile(latencies, 0.50),
        p95_ms=find_percentile(latencies, 0.95),
    )


def find_percentile(ordered: Sequence[float], share: float) -> float | None:
    """The smallest value that at least `share` of the ordered values do not exceed (nearest rank); None without any."""
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)] if ordered else None
