"""Decides which arm a user has: the one that the first router wrote down. Asked once a user and process, then known.

An allocation's probabilities move, so the arm of a user who came last week cannot be worked out from the user's draw
alone: it is remembered (`given_arms`). Whoever meets a new user proposes an arm; the row that was there first counts,
for all workers and replicas. Users who come at the same time share a statement, and its commit is waited for: about a
millisecond, before a new user's first answer only.

Without the database nobody can say whether a user is new: those that this process does not know meet the control,
outside of the experiment.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import OrderedDict
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, NamedTuple

import psycopg

from flytewheel.database import last_line

logger = logging.getLogger("router.allocation")

WAIT_S = 1.0
PAUSE_S = 1.0  # before a database that was away is asked again
_KNOWN = 200_000  # users that are remembered here; some 300 bytes each
_MOST = 1_000  # of one statement
_GIVE = """
WITH asked AS (
    SELECT experiment_id, place, arm, propensity, context::float8[] AS context
    FROM unnest(%s::text[], %s::bigint[], %s::text[], %s::float8[], %s::text[])
        AS t(experiment_id, place, arm, propensity, context)
), made AS (
    INSERT INTO given_arms (experiment_id, place, arm, propensity, context)
    SELECT * FROM asked ORDER BY experiment_id, place  -- in one order: two routers never wait for each other
    ON CONFLICT DO NOTHING RETURNING experiment_id, place, arm, propensity, context
)
SELECT * FROM made
UNION ALL
SELECT g.experiment_id, g.place, g.arm, g.propensity, g.context
FROM given_arms g JOIN asked USING (experiment_id, place)
"""
_FIND = "SELECT place, arm, propensity, context FROM given_arms WHERE experiment_id = %s AND place = ANY(%s::bigint[])"

Name = tuple[str, int]  # experiment and place


class Given(NamedTuple):
    """A user's arm. `propensity` is the probability with which it was given; `context` what was seen then."""

    arm: str
    propensity: float
    context: tuple[float, ...] = ()


class Giver:
    """One process's book of given arms, before the table that all share."""

    def __init__(self, database_url: str) -> None:
        self._url = database_url
        self._known: OrderedDict[Name, Given] = OrderedDict()
        self._waiting: dict[Name, tuple[Given, asyncio.Future[Given | None]]] = {}
        self._work: asyncio.Task[None] | None = None
        self._connection: psycopg.AsyncConnection[Any] | None = None
        self._lock = asyncio.Lock()
        self._away_until = 0.0

    def recall(self, name: Name) -> Given | None:
        """The arm that a user is known here to have."""
        return self._known.get(name)

    async def give(self, name: Name, proposed: Given) -> Given | None:
        """The user's arm: `proposed`, where nobody gave one before; None where that cannot be told now."""
        waiting = self._waiting.get(name)
        if waiting is None:
            if time.monotonic() < self._away_until:
                return None
            future = asyncio.get_running_loop().create_future()
            waiting = self._waiting[name] = (proposed, future)
            if self._work is None or self._work.done():
                self._work = asyncio.create_task(self._write_all())
        try:
            return await asyncio.wait_for(asyncio.shield(waiting[1]), WAIT_S)
        except TimeoutError:
            return None

    async def find(self, experiment_id: str, places: Sequence[int]) -> dict[int, Given]:
        """The arms that users were given before, by place; those who have none are left out.

        Raises:
            psycopg.Error, OSError: the database is away.
        """
        found = {place: given for place in places if (given := self._known.get((experiment_id, place))) is not None}
        missing = [place for place in places if place not in found]
        if missing:
            rows = await self._ask(_FIND, (experiment_id, missing))
            for place, arm, propensity, context in rows:
                found[place] = self._keep((experiment_id, place), Given(arm, propensity, tuple(context)))
        return found

    async def close(self) -> None:
        """Ends what runs; who waits is told None."""
        if self._work is not None:
            self._work.cancel()
            with suppress(asyncio.CancelledError):
                await self._work
        self._tell_none(list(self._waiting))
        if self._connection is not None:
            await self._connection.close()

    async def _write_all(self) -> None:
        while self._waiting:
            names = list(self._waiting)[:_MOST]
            try:
                rows = await self._ask(_GIVE, self._spell(names))
            except (psycopg.Error, OSError) as error:
                logger.warning("arms cannot be given (%s): new users meet the control", last_line(error))
                self._away_until = time.monotonic() + PAUSE_S
                self._tell_none(list(self._waiting))
                return
            for experiment_id, place, arm, propensity, context in rows:
                name = (experiment_id, place)
                given = self._keep(name, Given(arm, propensity, tuple(context)))
                if (waiting := self._waiting.pop(name, None)) is not None and not waiting[1].done():
                    waiting[1].set_result(given)
            # One that is missing was written by somebody else while the statement ran: the next round reads it.

    def _spell(self, names: Sequence[Name]) -> tuple[list[Any], ...]:
        rows = [(*name, *self._waiting[name][0]) for name in names]
        columns = [list(column) for column in zip(*rows, strict=True)]
        columns[4] = ["{" + ",".join(map(repr, context)) + "}" for context in columns[4]]
        return tuple(columns)

    def _keep(self, name: Name, given: Given) -> Given:
        self._known[name] = given
        if len(self._known) > _KNOWN:
            self._known.popitem(last=False)
        return given

    def _tell_none(self, names: Sequence[Name]) -> None:
        for name in names:
            future = self._waiting.pop(name)[1]
            if not future.done():
                future.set_result(None)

    async def _ask(self, query: str, values: Sequence[Any]) -> list[tuple[Any, ...]]:
        async with self._lock:
            try:
                if self._connection is None or self._connection.closed:
                    self._connection = await psycopg.AsyncConnection.connect(
                        self._url, connect_timeout=2, autocommit=True, application_name="flytewheel arms"
                    )
                async with asyncio.timeout(5):
                    return await (await self._connection.execute(query.encode(), values)).fetchall()
            except BaseException:
                connection, self._connection = self._connection, None
                if connection is not None:
                    await connection.close()
                raise
