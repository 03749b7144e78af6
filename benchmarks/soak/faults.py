"""When what breaks: a schedule made from a seed, so that a run that falls short can be made again.

Each kind comes at least once, in an order that chance decides, between the first tenth of the run and its last seventh:
then everything is up again and must be seen to have recovered. Keepers are killed in the first half, since the memory
of whoever lives on is looked at.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from benchmarks.soak.place import Place

# Kind: how many in ten minutes, and how long it stays away in seconds.
KINDS: Mapping[str, tuple[int, float, float]] = {
    "database": (4, 2.0, 12.0),
    "control": (4, 0.2, 3.0),
    "treatment": (4, 0.2, 3.0),
    "store": (3, 5.0, 20.0),
    "worker": (6, 0.0, 0.0),
    "keeper": (2, 0.0, 0.0),
}
_POLL_S = 0.1


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault: `at_s` from the run's begin, `away_s` until what was killed is started again."""

    at_s: float
    kind: str
    away_s: float
    place: int = 0


@dataclass(frozen=True, slots=True)
class Recovery:
    """How long the router called itself anything but ready, from when what was killed was there again (a worker and a
    keeper: from the kill); None: it still did when the next thing broke.
    """

    kind: str
    seconds: float | None


def plan_faults(seconds: float, seed: int, *, workers: int) -> list[Fault]:
    """The schedule of a run. After half of it only the first worker is killed: the others' memory is looked at."""
    chance = random.Random(seed)
    kinds = [
        kind
        for kind, (often, _, _) in KINDS.items()
        for _ in range(max(1, round(often * min(seconds, 3600) / 600)))
        if workers or kind != "worker"
    ]
    chance.shuffle(kinds)
    half = len(kinds) // 2
    for late in [number for number in range(half, len(kinds)) if kinds[number] == "keeper"]:
        early = chance.choice([number for number in range(half) if kinds[number] != "keeper"])
        kinds[early], kinds[late] = kinds[late], kinds[early]
    begin, end = seconds * 0.1, seconds * 0.85
    width = (end - begin) / len(kinds)
    planned = []
    for number, kind in enumerate(kinds):
        _, shortest, longest = KINDS[kind]
        at_s = begin + width * (number + chance.uniform(0.0, 0.3))
        away_s = min(chance.uniform(shortest, longest), width * 0.6)
        place = chance.randrange(workers) if workers and at_s < seconds / 2 else 0
        planned.append(Fault(at_s, kind, away_s, place))
    return planned


async def break_things(
    place: Place, faults: list[Fault], is_ready: Callable[[], bool], tell: Callable[[str], None]
) -> tuple[list[Recovery], list[str]]:
    """Breaks by the schedule, mends, and sees how long recovery takes; returns what could not be broken, too."""
    began, missed, recoveries = time.perf_counter(), [], []
    for number, fault in enumerate(faults):
        await asyncio.sleep(max(0.0, began + fault.at_s - time.perf_counter()))
        tell(f"{time.perf_counter() - began:6.1f} s  kill −9: {fault.kind}, away for {fault.away_s:.1f} s")
        if not await _break(place, fault):
            missed.append(f"no {fault.kind} at {fault.at_s:.0f} s")
            continue
        until = began + faults[number + 1].at_s if number + 1 < len(faults) else time.perf_counter() + 60
        recoveries.append(Recovery(fault.kind, await _measure(is_ready, until)))
    return recoveries, missed


async def _break(place: Place, fault: Fault) -> bool:
    """Kills, and starts again what the router does not; false where there was nothing to kill."""
    if fault.kind == "worker":
        return await asyncio.to_thread(place.kill_worker, fault.place)
    if fault.kind == "keeper":
        return await asyncio.to_thread(place.kill_keeper)
    arm = fault.kind if fault.kind in ("control", "treatment") else None
    kill: Callable[[], None] = {
        "database": place.kill_database,
        "store": place.kill_store,
        arm: lambda: place.kill_upstream(arm or ""),
    }[fault.kind]
    mend: Callable[[], None] = {
        "database": place.start_database,
        "store": place.start_store,
        arm: lambda: place.start_upstream(arm or ""),
    }[fault.kind]
    await asyncio.to_thread(kill)
    try:
        await asyncio.sleep(fault.away_s)
    finally:
        await asyncio.to_thread(mend)
    return True


async def _measure(is_ready: Callable[[], bool], until: float) -> float | None:
    began = time.perf_counter()
    while time.perf_counter() < until:
        asked = time.perf_counter()
        if await asyncio.to_thread(is_ready):
            return asked - began
        await asyncio.sleep(_POLL_S)
    return None
