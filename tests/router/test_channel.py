"""Two ends of a pair: order, replies, and an end that is seen."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from router.channel import Channel, GoneError


@asynccontextmanager
async def pair(handle: Callable[[str, Any], Any]) -> AsyncIterator[tuple[Channel, Channel]]:
    """Two connected ends, of which the second handles."""
    near, far = socket.socketpair()
    one, two = await Channel.open(near, lambda kind, content: None), await Channel.open(far, handle)
    running = [asyncio.create_task(each.run()) for each in (one, two)]
    try:
        yield one, two
    finally:
        one.close()
        two.close()
        await asyncio.gather(*running)


def test_what_is_told_is_handled_in_order_and_before_what_is_asked_afterwards() -> None:
    seen: list[Any] = []

    async def run() -> Any:
        async with pair(lambda kind, content: seen.append(content) or len(seen)) as (one, _):
            for number in range(100):
                one.tell("number", number)
            return await one.ask("number", "last", timeout_s=5)

    assert asyncio.run(run()) == 101
    assert seen == [*range(100), "last"]


def test_an_answer_that_takes_long_holds_nothing_up() -> None:
    async def run() -> list[Any]:
        slow = asyncio.Event()

        def handle(kind: str, content: Any) -> Any:
            async def wait() -> str:
                await slow.wait()
                return "slow"

            result: Awaitable[str] | str = wait() if kind == "slow" else "quick"
            return result

        async with pair(handle) as (one, _):
            waiting = asyncio.create_task(one.ask("slow", timeout_s=5))
            quick = await one.ask("quick", timeout_s=5)
            slow.set()
            return [quick, await waiting]

    assert asyncio.run(run()) == ["quick", "slow"]


def test_an_end_that_has_gone_fails_timed_out_or_broke_is_said() -> None:
    def handle(kind: str, content: Any) -> Any:
        if kind == "break":
            raise ValueError("no such number")
        return asyncio.sleep(60)

    async def run() -> None:
        async with pair(handle) as (one, two):
            with pytest.raises(GoneError, match="ValueError: no such number"):
                await one.ask("break", timeout_s=5)
            with pytest.raises(GoneError, match=r"within 0\.01 s"):
                await one.ask("sleep", timeout_s=0.01)
            waiting = asyncio.create_task(one.ask("sleep", timeout_s=60))
            await asyncio.sleep(0)
            two.close()
            with pytest.raises(GoneError, match="has ended"):
                await waiting
            with pytest.raises(GoneError, match="nobody is there"):
                await one.ask("sleep", timeout_s=60)
            one.tell("nobody hears it")

    asyncio.run(run())


@pytest.mark.parametrize("bad", [b"\xff\xff\xff\xff", b"\0\0\0\x09half"], ids=["endless", "torn"])
def test_a_frame_that_is_none_ends_the_channel(bad: bytes) -> None:
    async def run() -> bool:
        near, far = socket.socketpair()
        channel = await Channel.open(near, lambda kind, content: None)
        far.sendall(bad)
        far.close()
        await asyncio.wait_for(channel.run(), 5)
        return channel.gone

    assert asyncio.run(run())
