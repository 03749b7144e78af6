"""Follows every running experiment that asks for an allocation, and gives arms to its users.

What was said before this
process began is read from the log, page by page beside the requests; until that is done, new users are given by the
sums that the last process left on disk (`kept`), or evenly. A share of 0 takes every arm back at once, also from those
who have one.
"""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg

from flytewheel.database import last_line
from flytewheel.experiment.allocation.design import Design
from flytewheel.experiment.allocation.features import make_context
from flytewheel.experiment.allocation.given import PLACES
from flytewheel.experiment.allocation.policies import Floats
from router.allocation.giving import Given, Giver
from router.allocation.kept import KeptSums
from router.allocation.live import Live
from router.allocation.reading import read_notes
from router.feedback.rewards import Note

if TYPE_CHECKING:
    from router.proxy.call import Call
    from router.state import RouterState

logger = logging.getLogger("router.allocation")

KEEP_S = 30.0
_USERS = 100_000  # whose recent reward is remembered
_RECENT = 0.3  # weight of the newest reward


class Learning:
    """The allocations of one process; made inside the event loop."""

    def __init__(self, home: Path, state: RouterState) -> None:
        self._running: Mapping[str, Live] = {}  # by experiment
        self._state = state
        self._giver = Giver(state.database_url)
        self._kept = KeptSums(home, state.assignment_key)
        self._recent: OrderedDict[tuple[str, str], float] = OrderedDict()  # by model and user
        self._cancel = state.feedback.subscribe(self._take)
        self._keeping = asyncio.create_task(self._keep_sums())
        self._ending: set[asyncio.Task[None]] = set()

    def follow(self, wanted: Mapping[str, Design]) -> None:
        """Goes by these experiments from now on."""
        before, self._running = (
            self._running,
            {
                name: live
                if (live := self._running.get(name)) is not None and live.design == design
                else Live(name, design, self._state.assignment_key, self._giver)
                for name, design in wanted.items()
            },
        )
        for name, live in self._running.items():
            if before.get(name) is not live:
                live.task = asyncio.create_task(self._read(live))
        for name, live in before.items():
            if self._running.get(name) is not live:
                task = asyncio.create_task(live.close())
                self._ending.add(task)
                task.add_done_callback(self._ending.discard)

    async def give(self, call: Call) -> Given | None:
        """The arm of a call's user, None where no allocation gives it; a call that cannot be given one leaves its
        experiment.
        """
        experiment = call.route.experiment
        if experiment is None or call.override is not None:
            return None
        live = self._running.get(experiment.experiment_id)
        if live is None:
            return None
        given = None
        if experiment.share > 0:
            u = live.draw(call.unit.user)
            name = (experiment.experiment_id, int(u * PLACES))
            given = self._giver.recall(name)
            if given is None:
                context = self._see(live, call) if live.design.policy == "linucb" else None
                given = await self._giver.give(name, live.propose(u, context, experiment.share))
        if given is None or given.arm not in experiment.arms:
            call.route = replace(call.route, champion=experiment.control, experiment=None)
            return None
        if given.context:
            call.noted = {"features": given.context}
        return given

    async def close(self) -> None:
        """Ends what runs in the background; what is known is kept."""
        self._cancel()
        self._keeping.cancel()
        await asyncio.gather(self._keeping, return_exceptions=True)
        await asyncio.to_thread(self._kept.write, self._sums())
        for live in self._running.values():
            await live.close()
        await asyncio.gather(*self._ending, return_exceptions=True)
        await self._giver.close()

    def _see(self, live: Live, call: Call) -> Floats:
        given = call.body.get("metadata")
        topic = given.get("topic") if isinstance(given, dict) else None
        return make_context(
            live.design.features,
            topic=topic[:200] if isinstance(topic, str) else None,
            prompt_length=len(call.query),
            recent_reward=self._recent.get((call.route.name, call.unit.user)),
        )

    def _take(self, notes: Sequence[Note]) -> None:
        for live in self._running.values():
            live.take(notes)
        for note in notes:
            name, reward = (note.name, note.user), (1 + note.value) / 2
            before = self._recent.pop(name, None)
            self._recent[name] = reward if before is None else (1 - _RECENT) * before + _RECENT * reward
        while len(self._recent) > _USERS:
            self._recent.popitem(last=False)

    async def _read(self, live: Live) -> None:
        """Counts what was said before; meanwhile new users are given by the sums that were kept."""
        fresh = live.posterior
        rows = await asyncio.to_thread(self._kept.read, live.experiment_id, live.design)
        live.begin_with(rows)
        pause_s = 0.5
        while True:
            try:
                async for notes in read_notes(self._state.database_url, live.experiment_id):
                    live.take(notes)
                await live.settle()
                break
            except (psycopg.Error, OSError) as error:
                logger.warning("%s: rewards are not read yet: %s", live.experiment_id, last_line(error))
            await asyncio.sleep(pause_s)
            pause_s = min(10.0, 2 * pause_s)
        live.end_beginning()
        logger.info("%s: %d users' rewards counted", live.experiment_id, fresh.users)

    async def _keep_sums(self) -> None:
        while True:
            await asyncio.sleep(KEEP_S)
            await asyncio.to_thread(self._kept.write, self._sums())

    def _sums(self) -> dict[str, list[dict[str, object]]]:
        return {name: live.posterior.to_jsonable() for name, live in self._running.items() if live.counted}
