"""Sends requests at a steady pace, whatever comes back, and feedback on a third of the answers.

Every request has a number that decides what must come back, byte for byte. A client here does what the official ones
do: two more tries where no answer began (connection lost, 408, 409, 429, 5xx; after 0.5 and 1 s), none once a stream
has. What became of a request is one of `OUTCOMES`; nothing is left out of the count. Feedback is sent under an id of
its own until it is acknowledged; some of it twice at once, as impatient clients do.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import aiohttp
import orjson

from benchmarks.soak.place import ELSEWHERE
from benchmarks.soak.record import MODEL, Recording

# answered: whole and right, at the first try or after another; wrong: whole, but not what was recorded; broken: it
# began and did not come to its end; refused: an error as the last answer; unreachable: no answer at all.
OUTCOMES = ("answered", "answered, second try", "wrong", "broken", "refused", "unreachable")
PAUSES_S = (0.5, 1.0)
ANSWER_S = 60.0
FEEDBACK_S = 90.0  # how long a client goes on with one reaction
TWICE = 0.05
MOST_OPEN = 3000  # requests at a time: fifteen seconds of the pace
_AGAIN = frozenset((408, 409, 429))


@dataclass(slots=True)
class Tally:
    """What became of everything that was sent."""

    planned: int = 0
    sent: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)  # of single tries, by what was seen
    examples: dict[str, str] = field(default_factory=dict)
    latencies_s: list[float] = field(default_factory=list)
    first_s: list[float] = field(default_factory=list)
    answered: dict[str, int] = field(default_factory=dict)  # interaction: number
    acknowledged: dict[str, tuple[str, int]] = field(default_factory=dict)  # event: interaction, number
    given_up: Counter[str] = field(default_factory=Counter)
    by_version: Counter[str] = field(default_factory=Counter)
    fallbacks: int = 0

    def note(self, what: str, example: str = "") -> None:
        """Counts what went wrong with one try."""
        self.faults[what] += 1
        if example:
            self.examples.setdefault(what, example[:300])


class Traffic:
    """One crowd of clients in front of one router."""

    def __init__(self, url: str, key: str, model: str, recordings: list[Recording], *, rate: float, seed: int) -> None:
        self.tally = Tally()
        self._url = url
        self._model = model
        self._rate = rate
        self._random = random.Random(seed)
        self._wanted = [("".join(one.events).encode(), one.whole.encode()) for one in recordings]
        self._headers = {"authorization": f"Bearer {key}", "content-type": "application/json"}
        self._tasks: set[asyncio.Task[None]] = set()
        self._reactions: set[asyncio.Task[None]] = set()
        self._session: aiohttp.ClientSession

    async def run(self, seconds: float) -> None:
        """Sends for so long, then waits for the answers and acknowledgements that are still to come."""
        timeout = aiohttp.ClientTimeout(total=ANSWER_S, sock_connect=5)
        connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=30)
        async with aiohttp.ClientSession(connector=connector, timeout=timeout, headers=self._headers) as session:
            self._session = session
            began = time.perf_counter()
            for number in range(int(seconds * self._rate)):
                pause_s = began + number / self._rate - time.perf_counter()
                if pause_s > 0:
                    await asyncio.sleep(pause_s)
                self.tally.planned += 1
                if len(self._tasks) >= MOST_OPEN:
                    continue  # this machine does not keep up with the pace: the run says so, and does not pile them up
                self.tally.sent += 1
                self._begin(self._tasks, self._ask(number))
            await self._finish(self._tasks, ANSWER_S * 3)
            await self._finish(self._reactions, FEEDBACK_S + 15)

    def _begin(self, where: set[asyncio.Task[None]], work: Any) -> None:
        task = asyncio.create_task(work)
        where.add(task)
        task.add_done_callback(where.discard)

    async def _finish(self, tasks: set[asyncio.Task[None]], timeout_s: float) -> None:
        if tasks:
            _, late = await asyncio.wait(set(tasks), timeout=timeout_s)
            for task in late:
                task.cancel()

    # -- one request

    async def _ask(self, number: int) -> None:
        streamed = number % 2 == 0
        body = orjson.dumps(
            {
                "model": f"flytewheel/{self._model}",
                "messages": [{"role": "user", "content": f"soak question {number}: which runbook is it?"}],
                "user": f"user-{number % 4999}",
                "stream": streamed,
            }
        )
        began = time.perf_counter()
        last = "unreachable"
        for pause_s in (*PAUSES_S, None):
            last, proof = await self._try(number, body, streamed, began)
            if last in ("refused", "unreachable") and pause_s is not None:
                await asyncio.sleep(pause_s * self._random.uniform(0.75, 1.0))
                continue
            if last == "answered":
                self.tally.latencies_s.append(time.perf_counter() - began)
                last = last if pause_s == PAUSES_S[0] else "answered, second try"
            if proof is not None and number % 3 == 0:
                self._begin(self._reactions, self._react(number, *proof))
            break
        self.tally.outcomes[last] += 1

    async def _try(self, number: int, body: bytes, streamed: bool, began: float) -> tuple[str, tuple[str, str] | None]:
        """One try: what came of it, and interaction with receipt where it can be rated."""
        tally, started = self.tally, False
        try:
            async with self._session.post(f"{self._url}/v1/chat/completions", data=body) as answer:
                if answer.status != 200:
                    said = (await answer.read()).decode(errors="replace")
                    again = answer.status in _AGAIN or answer.status >= 500
                    tally.note(f"status {answer.status}", said)
                    return ("refused" if again else "wrong"), None
                started = streamed
                parts: list[bytes] = []
                async for part in answer.content.iter_any():
                    if not parts:
                        tally.first_s.append(time.perf_counter() - began)
                    parts.append(part)
                text = b"".join(parts)
                return self._judge(number, text, streamed, answer.headers)
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            tally.note(f"{'in a stream: ' if started else ''}{type(error).__name__}", str(error))
            return ("broken" if started else "unreachable"), None

    def _judge(self, number: int, text: bytes, streamed: bool, headers: Any) -> tuple[str, tuple[str, str] | None]:
        tally, version = self.tally, headers["x-flytewheel-version"]
        alias = f"flytewheel/{self._model}@{version}".encode()
        text = text.replace(ELSEWHERE.encode(), alias)
        wanted = self._wanted[number % len(self._wanted)][not streamed]
        if text.replace(alias, MODEL.encode()) != wanted:
            if streamed and not text.rstrip().endswith(b"data: [DONE]"):
                tally.note("a stream without its end", text[-200:].decode(errors="replace"))
                return "broken", None
            tally.note("another answer than recorded", text[:200].decode(errors="replace"))
            return "wrong", None
        interaction = headers["x-flytewheel-interaction"]
        tally.answered[interaction] = number
        tally.by_version[version] += 1
        tally.fallbacks += "x-flytewheel-fallback" in headers
        return "answered", (interaction, headers["x-flytewheel-receipt"])

    # -- one reaction

    async def _react(self, number: int, interaction: str, receipt: str) -> None:
        await asyncio.sleep(min(10.0, self._random.expovariate(1.0)))
        reaction = {
            "event_id": f"soak-{number}",
            "interaction_id": interaction,
            "receipt": receipt,
            "feedback_type": "thumbs_up" if number % 2 else "thumbs_down",
            "metadata": {"number": number},
        }
        if number % 4 < 2:  # the others leave the time to the router
            reaction["timestamp"] = datetime.now(UTC).isoformat()
        body = orjson.dumps(reaction)
        times = 2 if self._random.random() < TWICE else 1
        told = await asyncio.gather(*(self._send(body) for _ in range(times)))
        if "acknowledged" in told:
            self.tally.acknowledged[f"soak-{number}"] = (interaction, number)
        else:
            self.tally.given_up[told[0]] += 1

    async def _send(self, body: bytes) -> str:
        """Sends a reaction until it is acknowledged, refused for good, or too old."""
        deadline, pause_s, last = time.perf_counter() + FEEDBACK_S, 0.25, "nothing"
        while time.perf_counter() < deadline:
            try:
                async with self._session.post(f"{self._url}/v1/feedback", data=body) as answer:
                    said = await answer.read()
                    if answer.status in (200, 201):
                        return "acknowledged"
                    last = f"feedback: status {answer.status}"
                    self.tally.note(last, said.decode(errors="replace"))
                    if answer.status < 500 and answer.status not in _AGAIN:
                        return last
            except (aiohttp.ClientError, OSError, TimeoutError) as error:
                last = f"feedback: {type(error).__name__}"
                self.tally.note(last, str(error))
            await asyncio.sleep(pause_s)
            pause_s = min(2.0, pause_s * 2)
        return last
