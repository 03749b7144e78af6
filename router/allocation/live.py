"""One experiment's arms as this process knows them: what they earned, and what new users are given by, at any moment.

A stored reaction reaches every process (`router.feedback.link`) and moves the sums at once; probabilities are worked
out again when the next new user comes, at most a tenth of the time is spent on it. Which arm a reaction belongs to, its
note says; a contextual policy also needs what was seen of the user when the arm was given, and looks it up where
another process gave it.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any

import numpy as np
import psycopg

from flytewheel.database import last_line
from flytewheel.experiment.allocation.design import Design
from flytewheel.experiment.allocation.given import PLACES
from flytewheel.experiment.allocation.policies import Floats, place_draw
from flytewheel.experiment.allocation.posterior import Policy, Posterior, Reward
from flytewheel.experiment.assign import draw_unit
from router.allocation.giving import Given, Giver
from router.feedback.rewards import Note, RewardBook

logger = logging.getLogger("router.allocation")

HOUR_MS = 3_600_000
_SHARE_OF_TIME = 0.1
_AGED_S = 60.0  # after which weights that halve with time have moved


class Live:
    """The arms of one running experiment.

    Args:
        experiment_id: whose.
        design: how new users are given to arms.
        key: the assignment key.
        giver: knows who has which arm.
        clock: seconds since 1970.
    """

    def __init__(
        self, experiment_id: str, design: Design, key: bytes, giver: Giver, clock: Callable[[], float] = time.time
    ) -> None:
        self.experiment_id = experiment_id
        self.design = design
        self.posterior = Posterior(design)
        self.task: asyncio.Task[None] | None = None  # reads what was said before
        self.counted = False  # all that was said before stands in the posterior
        self._kept: Posterior | None = None
        self._key = key
        self._giver = giver
        self._clock = clock
        self._book = RewardBook(0)
        self._policy: Policy | None = None
        self._seen, self._made_at, self._cost_s = -1, 0.0, 0.0
        self._lookups: set[asyncio.Task[None]] = set()

    def draw(self, user: str) -> float:
        """The user's draw in this experiment, in [0, 1)."""
        return draw_unit(self._key, self.experiment_id, user)

    def propose(self, u: float, context: Floats | None, share: float) -> Given:
        """The arm that a new user would be given now.

        Args:
            u: the user's draw.
            context: what is seen of them, `(d,)`; for a contextual policy.
            share: the most that arms other than the control may have together.
        """
        probabilities = cap_share(self._find_policy().choose(context), share)
        arm = place_draw(probabilities, u)
        seen = () if context is None else tuple(context.tolist())
        return Given(self.design.arms[arm], float(probabilities[arm]), seen)

    def begin_with(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Gives arms by these sums of an earlier process, until `end_beginning`."""
        if rows:
            self._kept = Posterior(self.design)
            self._kept.take_sums(rows)
            self._policy = None

    def end_beginning(self) -> None:
        """What was said before is counted."""
        self._kept, self._policy, self.counted = None, None, True

    async def settle(self) -> None:
        """Waits until all that was taken is counted."""
        while self._lookups:
            await asyncio.gather(*self._lookups, return_exceptions=True)

    def take(self, notes: Sequence[Note]) -> None:
        """Takes notes of this experiment and of others; each may come again."""
        late: list[tuple[int, Reward]] = []
        for note in notes:
            if note.experiment_id != self.experiment_id or note.propensity is None:
                continue
            total = self._book.add(note)
            if total is None or total.total is None:
                continue
            u = self.draw(note.user)
            hour = note.given_ms // HOUR_MS
            said = Reward(u, note.arm, note.interaction_id, (1 + total.total) / 2, hour)
            if self.design.policy != "linucb":
                self.posterior.set_reward(said)
            elif (given := self._giver.recall((self.experiment_id, int(u * PLACES)))) is not None:
                self.posterior.set_reward(said, np.array(given.context))
            else:
                late.append((int(u * PLACES), said))
        if late:
            task = asyncio.get_running_loop().create_task(self._take_late(late))
            self._lookups.add(task)
            task.add_done_callback(self._lookups.discard)

    async def close(self) -> None:
        """Ends what runs."""
        for task in (*self._lookups, *((self.task,) if self.task is not None else ())):
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    async def _take_late(self, late: Sequence[tuple[int, Reward]]) -> None:
        try:
            found = await self._giver.find(self.experiment_id, [place for place, _ in late])
        except (psycopg.Error, OSError, TimeoutError) as error:
            logger.warning("%d rewards wait for a restart: %s", len(late), last_line(error))
            return
        for place, said in late:
            if place in found:
                self.posterior.set_reward(said, np.array(found[place].context))

    def _find_policy(self) -> Policy:
        now = time.perf_counter()
        stale = self._seen != self.posterior.changes or (
            self.design.half_life_hours is not None and now - self._made_at > _AGED_S
        )
        if self._policy is None or (stale and now - self._made_at >= self._cost_s / _SHARE_OF_TIME):
            self._seen = self.posterior.changes
            self._policy = (self._kept or self.posterior).make_policy(self._clock() / 3600)
            self._made_at = time.perf_counter()
            self._cost_s = self._made_at - now
        return self._policy


def cap_share(probabilities: Floats, share: float) -> Floats:
    """Gives the control, the first arm, what the others have together above `share`: an allocation moves users within
    what a rollout has cleared, and never beyond it.
    """
    others = 1.0 - float(probabilities[0])
    if others <= share:
        return probabilities
    capped = probabilities * (share / others)
    capped[0] = 1.0 - share
    return capped
