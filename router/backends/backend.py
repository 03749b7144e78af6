"""What a request sees of a version that is served, and what is said about it between processes.

Who keeps a version served (a `Host`, in the keeper process) says a `Status` at every change: plain values, as JSON on
the way to a worker process. Who sends requests (a worker) holds a `Backend` for each and answers with words of one
serial number: `LOOK` (a request failed: is it still there?), `IDLE` (of a draining one: my last answer has ended),
`OPENED` and `CLOSED` (of its circuit breaker here).
Nothing else passes between the two, and nothing here starts a process or asks a registry.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from aiohttp import ClientSession

from router.backends.breaker import Breaker
from router.backends.limit import Limit
from router.backends.line import GivenError, Line
from router.backends.rules import Rules
from router.paths import CHAT, COMPLETIONS

READY, DRAINING = "ready", "draining"
ENDED = frozenset({"failed", DRAINING, "stopped"})
LOOK, IDLE, OPENED, CLOSED = "look", "idle", "opened", "closed"
NOTICE_S = 5.0  # how long a request that failed waits to hear whether its backend is gone


class ModelGoneError(ConnectionError):
    """The server is there, and does not know the model any more."""


@dataclass(frozen=True, slots=True)
class Status:
    """What the keeper says of one version.

    Attributes:
        serial: Numbers the loadings of this keeper: a version that is loaded again is another backend.
        name: Of the model.
        version: Of the model.
        digest: SHA-256 of what is served.
        state: starting, ready, restarting, failed, draining, stopped.
        failure: Why it is not ready, as a line.
        url: Where requests go, without their path; empty before the first start.
        alias: What the server calls the model; requests and answers carry it as `model`.
        headers: What a request to it needs beside its own, such as a key.
        endpoints: The paths that it answers itself; others are translated, or refused.
        generation: How often it came up; a new one has a clean record.
        looks: How often the keeper looked after a word of doubt.
        breakers: In how many processes its circuit breaker is not closed.
        fields: What every request's body is given, whatever the client put there, such as an adapter's scale.
        own: Whether its server is a process of ours on this machine, which is asked on loopback only.
        allow: Of a server that is not ours: the networks beside the public ones that its address may be in.
        pid: Of a process of our own.
        memory_bytes: What that process holds.
        warm_s: How long its first generation took, before it got traffic.
    """

    serial: int
    name: str
    version: str
    digest: str = ""
    state: str = "starting"
    failure: str | None = None
    url: str = ""
    alias: str = ""
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    endpoints: tuple[str, ...] = (CHAT, COMPLETIONS)
    generation: int = 0
    looks: int = 0
    breakers: int = 0
    fields: Mapping[str, Any] = field(default_factory=dict)
    own: bool = True
    allow: tuple[str, ...] = ()
    pid: int | None = None
    memory_bytes: int | None = None
    warm_s: float | None = None

    @property
    def restarts(self) -> int:
        """How often it came back."""
        return max(0, self.generation - 1)

    def to_wire(self) -> dict[str, Any]:
        """As JSON's own types."""
        return asdict(self)

    @classmethod
    def from_wire(cls, wire: Mapping[str, Any]) -> Status:
        """Reads `to_wire`'s form; fields that it does not know are left out, keeper and worker being of one release."""
        known = {item.name for item in fields(cls)}
        read = {name: value for name, value in wire.items() if name in known}
        return cls(**read | {name: tuple(read.get(name, ())) for name in ("endpoints", "allow")})


class Backend:
    """One version as whoever sends requests sees it; `tell` brings a word to whoever keeps it served.

    Attributes:
        model: What the keeper said last: name, version, digest and all the rest.
        breaker: Whether it is asked at all; a new generation begins with a clean record.
        limit: How many requests may run.
        session: The connections to it; of no use before it was ready once.
        inflight: Running answers.
    """

    def __init__(
        self,
        status: Status,
        tell: Callable[[int, str], None],
        *,
        rules: Rules,
        connect: Callable[[Status], ClientSession],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.inflight = 0
        self.breaker = Breaker(rules.breaker, clock, lambda opened: tell(status.serial, OPENED if opened else CLOSED))
        self.limit = Limit(rules.limit, clock)
        self._line = Line(rules.limit.target_s, clock)
        self._awaited = 0  # by so many, while it is not ready
        self.session: ClientSession
        self._tell = tell
        self._connect = connect
        self._generation = 0
        self._ready = asyncio.Event()
        self._changed = asyncio.Event()
        self.apply(status)

    def apply(self, status: Status) -> None:
        """Takes over what the keeper says now."""
        self.model = status
        self.url = status.url
        self.alias = status.alias
        self.headers = status.headers
        self.fields = status.fields
        self.endpoints = status.endpoints
        self.state = status.state
        if status.generation != self._generation:
            self._generation = status.generation
            self.session = self._connect(status)
            self.breaker.reset()
        if status.state == READY:
            if self._awaited:
                self._line.open()
            self._ready.set()
        else:
            self._ready.clear()
        if status.state == DRAINING and not self.inflight:
            self._tell(status.serial, IDLE)
        self._changed.set()
        self._changed.clear()  # whoever waits is woken; nobody finds it set

    @property
    def failure(self) -> str | None:
        return self.model.failure

    @property
    def restarts(self) -> int:
        return self.model.restarts

    @property
    def pid(self) -> int | None:
        return self.model.pid

    @property
    def served_before(self) -> bool:
        """Whether it was ever ready."""
        return self.model.generation > 0

    async def wait_ready(self, timeout_s: float) -> bool:
        """Waits until it serves; false when it does not within `timeout_s`, or never will."""
        if self._ready.is_set():
            return True
        await self._await(lambda: not self._ready.is_set() and self.state not in {"failed", "stopped"}, timeout_s)
        return self._ready.is_set()

    async def wait_begun(self, timeout_s: float) -> None:
        """Waits until its first start came to an end, good or bad."""
        await self._await(lambda: self.state == "starting", timeout_s)

    async def _await(self, still: Callable[[], bool], timeout_s: float) -> None:
        self._awaited += 1
        try:
            with suppress(TimeoutError):
                async with asyncio.timeout(timeout_s):
                    while still():
                        await self._changed.wait()
        finally:
            self._awaited -= 1

    @property
    def has_room(self) -> bool:
        """Whether one more may be sent now; whoever stands in line is before."""
        return not self._line and self.limit.has_room(self.inflight)

    async def wait_for_room(self) -> bool:
        """Stands in line where it has just come back; true: a place is acquired."""
        try:
            return await self._line.wait()
        except GivenError:
            self.release()
            raise

    def acquire(self) -> None:
        """Counts one more running answer; unloading waits for it until `release`."""
        self.inflight += 1

    def release(self) -> None:
        """One answer ended; its place goes to whoever waits for one."""
        self.inflight -= 1
        while self._line and self.limit.has_room(self.inflight) and self._line.give():
            self.inflight += 1
        if not self.inflight and self.state == DRAINING:
            self._tell(self.model.serial, IDLE)

    def doubt(self) -> None:
        """A request failed, and nobody waits for what that means: whoever keeps it may look now."""
        self._tell(self.model.serial, LOOK)

    async def noticed_failure(self) -> None:
        """After a broken connection: waits a moment to see whether it is gone, so that nobody is sent there again."""
        looks = self.model.looks
        self._tell(self.model.serial, LOOK)
        with suppress(TimeoutError):
            async with asyncio.timeout(NOTICE_S):
                while self.state == READY and self.model.looks == looks:
                    await self._changed.wait()
