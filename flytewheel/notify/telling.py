"""Tells a message to every channel at once, in bounded time; whatever goes wrong there is said, and fails nothing.

Each channel has a thread that is not waited for beyond the deadline: neither a name that does not resolve nor a server
that answers a byte a second holds a task up. Retries wait 1, 2, 4 … s, or as long as the server asks, within it.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Literal

import psycopg

from flytewheel.errors import DatabaseError, FlytewheelError
from flytewheel.notify import ledger
from flytewheel.notify.channels import Channel, NotToldError, find_channels
from flytewheel.notify.message import Message, to_line
from flytewheel.settings import Settings

DEADLINE_S = 20.0
_TRY_S = 8.0
_NO_LEDGER = (DatabaseError, psycopg.Error)  # away, or not migrated yet


@dataclass(frozen=True, slots=True)
class Telling:
    """What became of a message at one channel. `before`: somebody told it already, or is at it."""

    channel: str
    outcome: Literal["told", "before", "failed"]
    why: str = ""


def tell(
    message: Message,
    settings: Settings,
    *,
    database_url: str | None,
    mail_to: tuple[str, ...] = (),
    deadline_s: float = DEADLINE_S,
) -> tuple[Telling, ...]:
    """Tells every channel of the environment that takes such a message, once; raises nothing.

    Args:
        message: what to tell.
        settings: of this process; the channels' secrets are in it.
        database_url: PostgreSQL, where it is kept who was told; None, or away: it is told all the same.
        mail_to: who gets mail (`find_channels`).
        deadline_s: how long it may take in all.
    """
    try:
        channels = find_channels(settings, mail_to=mail_to)
    except FlytewheelError as error:
        told: tuple[Telling, ...] = (Telling("channels", "failed", str(error)),)
    else:
        takers = [channel for channel in channels if channel.takes(message)]
        told = tell_channels(message, takers, database_url=database_url, deadline_s=deadline_s)
    for each in told:
        if each.outcome == "failed":
            print(f"not told by {each.channel}: {each.why}", file=sys.stderr, flush=True)
    return told


def tell_channels(
    message: Message,
    channels: Sequence[Channel],
    *,
    database_url: str | None,
    deadline_s: float = DEADLINE_S,
    pause: Callable[[float], None] = time.sleep,
) -> tuple[Telling, ...]:
    """As `tell`, with channels of the caller's own."""
    ended: dict[int, Telling] = {}

    def work(place: int, channel: Channel) -> None:
        ended[place] = _tell_one(message, channel, database_url, deadline_s, pause)

    threads = [
        threading.Thread(target=work, args=(place, channel), name=f"tell {channel.name}", daemon=True)
        for place, channel in enumerate(channels)
    ]
    for thread in threads:
        thread.start()
    until = time.monotonic() + deadline_s + (ledger.CLAIM_S if database_url else 0.0)
    for thread in threads:
        thread.join(max(0.0, until - time.monotonic()))
    late = f"no answer within {deadline_s:g} s"
    return tuple(ended.get(place, Telling(channel.name, "failed", late)) for place, channel in enumerate(channels))


def _tell_one(
    message: Message, channel: Channel, database_url: str | None, deadline_s: float, pause: Callable[[float], None]
) -> Telling:
    try:
        claimed = _claim(message, channel, database_url, pause)
        if claimed in ("told", "busy"):
            return Telling(channel.name, "before")
        why = _try(message, channel, time.monotonic() + deadline_s, pause)
        if claimed == "mine" and database_url is not None:
            with suppress(*_NO_LEDGER):  # it went away meanwhile: who tries again may tell it twice
                if why:
                    ledger.note_failed(database_url, message.key, channel.name, why)
                else:
                    ledger.note_sent(database_url, message.key, channel.name)
        return Telling(channel.name, "failed", why) if why else Telling(channel.name, "told")
    except Exception as error:  # a defect of ours: it is said, and the turn goes on
        return Telling(channel.name, "failed", type(error).__name__)


def _claim(
    message: Message, channel: Channel, database_url: str | None, pause: Callable[[float], None]
) -> ledger.Claim | None:
    """None: it cannot be known who told it, so it is told."""
    if database_url is None:
        return None
    until = time.monotonic() + ledger.CLAIM_S
    while True:
        try:
            title = to_line(message.title, 500)
            found = ledger.claim(database_url, message.key, channel.name, name=message.name, title=title)
        except _NO_LEDGER:
            return None
        if found != "busy" or time.monotonic() >= until:
            return found
        pause(0.5)


def _try(message: Message, channel: Channel, until: float, pause: Callable[[float], None]) -> str:
    """Sends until it is taken or time is over; why not, or nothing."""
    wait = 1.0
    while True:
        left = until - time.monotonic()
        if left <= 0:
            return "time is over"
        try:
            channel.send(message, min(_TRY_S, left))
            return ""
        except NotToldError as error:
            if error.again_after_s is None:
                return str(error)
            delay = max(wait, error.again_after_s)
            if time.monotonic() + delay >= until:
                return f"{error}; tried until time was over"
        pause(delay)
        wait *= 2
