"""Reads from the log what was said of an experiment's answers, as the notes that a live subscriber gets."""

from __future__ import annotations

from collections.abc import AsyncIterator

import psycopg

from flytewheel.recipe import Rewards
from router.feedback.link import NOTES, read_note
from router.feedback.rewards import Note

_PAGE = 200  # notes between two looks at other work: some 5 ms
_OF_EXPERIMENT = NOTES + "i.body ->> 'experiment_id' = %s"


async def read_notes(
    database_url: str, experiment_id: str, rewards: Rewards | None = None
) -> AsyncIterator[list[Note]]:
    """All stored reactions to answers of an experiment, page by page, in no order.

    Raises:
        psycopg.Error: the database is away.
    """
    rewards = rewards or Rewards()
    async with (
        await psycopg.AsyncConnection.connect(database_url, connect_timeout=5) as connection,
        connection.cursor(name="notes") as cursor,
    ):
        cursor.itersize = _PAGE
        await cursor.execute(_OF_EXPERIMENT.encode(), (experiment_id,))
        while rows := await cursor.fetchmany(_PAGE):
            yield [read_note(rewards, *row[1:]) for row in rows]
