"""The people of the month: who asks what on a day, over HTTP through the router, and what they say of the answer.

The same people all month, so that each meets one arm and has a history before it. They draw from a bounded set of
questions, which is why each version has to answer each of them once only. From `shifted` on they ask more than before
in longer words: the drift of the month.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import aiohttp

from flytewheel.pocket.users import Question, draw_questions, judge_answer
from flytewheel.records import build_prompt, to_jsonable

CONCURRENCY = 12
PATIENCE_S = 120.0  # that a person tries again for, where no answer began
PAUSE_S = 0.25
PREAMBLE = (
    "Good morning, I hope this reaches the right place. I have read the runbook twice, asked two colleagues and "
    "searched the archive of the channel before I came here, so please bear with me and answer as exactly as you can. "
)


@dataclass(slots=True)
class Day:
    """What one day brought: answers by version, reactions, and requests that nobody answered at all."""

    asked: int = 0
    by_version: Counter[str] = field(default_factory=Counter)
    up: Counter[str] = field(default_factory=Counter)
    down: Counter[str] = field(default_factory=Counter)
    feedback: int = 0
    second_tries: int = 0
    unanswered: int = 0
    unheard: int = 0


def draw_pool(count: int, seed: int) -> list[Question]:
    """The distinct questions of the month."""
    return draw_questions(count, seed)


def draw_day(pool: Sequence[Question], day: int, seed: int, *, users: int, each: int, shifted: bool) -> list[Question]:
    """Who asks what on a day: some people ask more than others, everybody in an order of their own."""
    chance = random.Random(f"{seed}/{day}")
    asked = []
    for user in range(users):
        for _ in range(1 + min(int(chance.expovariate(1 / max(each - 1, 1e-9))), 10 * each)):
            question = replace(chance.choice(pool), user_id=f"person-{user:05d}")
            asked.append(replace(question, query=PREAMBLE + question.query) if shifted else question)
    chance.shuffle(asked)
    return asked


def live_day(url: str, key: str, name: str, questions: Sequence[Question]) -> Day:
    """Sends a day's questions and what people think of the answers."""
    return asyncio.run(_live(url, key, name, questions))


async def _live(url: str, key: str, name: str, questions: Sequence[Question]) -> Day:
    day = Day()
    pending = iter(questions)
    headers = {"authorization": f"Bearer {key}"}
    async with aiohttp.ClientSession(url, headers=headers, timeout=aiohttp.ClientTimeout(60)) as client:

        async def work() -> None:
            for question in pending:
                await _ask(client, name, question, day)

        await asyncio.gather(*(work() for _ in range(CONCURRENCY)))
    return day


async def _ask(client: aiohttp.ClientSession, name: str, question: Question, day: Day) -> None:
    day.asked += 1
    body = {
        "model": f"flytewheel/{name}",
        "messages": to_jsonable(build_prompt(question.query, context=question.context)),
        "user": question.user_id,
        "temperature": 0,
        "max_tokens": 128,
        "metadata": {"topic": question.topic},
    }
    answer = await _post(client, "/v1/chat/completions", body, day)
    if answer is None:
        day.unanswered += 1
        return
    said, headers = answer
    version = headers.get("x-flytewheel-version", "")
    day.by_version[version] += 1
    opinion = judge_answer(question, said["choices"][0]["message"]["content"] or "")
    events: list[dict[str, object]] = []
    if opinion.thumb:
        events.append({"feedback_type": "thumbs_up" if opinion.thumb > 0 else "thumbs_down"})
        (day.up if opinion.thumb > 0 else day.down)[version] += 1
    if opinion.correction is not None:
        events.append({"feedback_type": "correction", "corrected_response": opinion.correction})
    proof = {"interaction_id": headers["x-flytewheel-interaction"], "receipt": headers["x-flytewheel-receipt"]}
    for number, event in enumerate(events):
        marked = {**proof, **event, "event_id": f"{proof['interaction_id']}-{number}"}
        if await _post(client, "/v1/feedback", marked, day) is None:
            day.unheard += 1
        else:
            day.feedback += 1


async def _post(
    client: aiohttp.ClientSession, path: str, body: object, day: Day
) -> tuple[dict[str, list[dict[str, dict[str, str]]]], dict[str, str]] | None:
    """The answer and its headers; None where nobody answered for `PATIENCE_S`."""
    began = time.monotonic()
    first = True
    while time.monotonic() - began < PATIENCE_S:
        try:
            async with client.post(path, json=body) as answer:
                if answer.status < 500 and answer.status != 429:
                    answer.raise_for_status()
                    return await answer.json(), {name.lower(): value for name, value in answer.headers.items()}
        except (aiohttp.ClientConnectionError, TimeoutError):
            pass
        day.second_tries += first
        first = False
        await asyncio.sleep(PAUSE_S)
    return None
