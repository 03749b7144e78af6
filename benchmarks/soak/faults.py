"""When what breaks: a schedule made from a seed, so that a run that falls short can be made again.

Each kind comes at least once, in an order that chance decides, between the first tenth of the run and its last seventh:
then everything is up again and must be seen to have recovered.
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
    "upstream": (6, 0.2, 1.0),
    "store": (3, 5.0, 20.0),
    "worker": (8, 0.0, 0.0),
}


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault: `at_s` from the run's begin, `away_s` until what was killed is started again."""

    at_s: float
    kind: str
    away_s: float
    place: int = 0


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


async def break_things(place: Place, faults: list[Fault], tell: Callable[[str], None]) -> list[str]:
    """Breaks by the schedule, and mends; returns what could not be broken."""
    began, missed = time.perf_counter(), []
    for fault in faults:
        await asyncio.sleep(max(0.0, began + fault.at_s - time.perf_counter()))
        tell(f"{time.perf_counter() - began:6.1f} s  kill −9: {fault.kind}, away for {fault.away_s:.1f} s")
        if fault.kind == "worker":
            if not await asyncio.to_thread(place.kill_worker, fault.place):
                missed.append(f"no worker at {fault.at_s:.0f} s")
            continue
        kill = {"database": place.kill_database, "store": place.kill_store, "upstream": place.kill_upstream}
        mend = {"database": place.start_database, "store": place.start_store, "upstream": place.start_upstream}
        await asyncio.to_thread(kill[fault.kind])
        try:
            await asyncio.sleep(fault.away_s)
        finally:
            await asyncio.to_thread(mend[fault.kind])
    return missed
