"""Never two turns of a model at once, and none too soon: what stands in a launch's way, and the name that it has.

Looks take turns: a lock in PostgreSQL is held from the first question to the note of what was launched. A launch waits
for a run that is under way, for an execution that was launched and has not opened its run, and for whatever Flyte says
is running. A trigger waits for the recipe's least time between turns, too; a person does not.

The name of an execution is made of the model, the kind of turn, where its window begins and the launch before it. Flyte
takes a name once, so a look that dies after launching and comes again meets what it launched; the next launch has
another name, also where this one's turn fails and nothing else changes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from flytewheel.database import Connection, connect
from flytewheel.recipe import Mode, Recipe

BUSY_HOURS = 12  # the training task's own limit (DESIGN §8): a run that is older has died without a word
OPENING_HOURS = 1  # in which an execution opens its run, or found that there is nothing to do

ListRunning = Callable[[], Sequence[str]]

_RUNNING = """
SELECT run_id FROM runs WHERE name = %(name)s AND status = 'running' AND execution IS DISTINCT FROM %(own)s
    AND started_at > now() - make_interval(hours => %(hours)s)
ORDER BY started_at DESC LIMIT 1
"""
_OPENING = """
SELECT l.execution FROM trigger_looks l WHERE l.name = %(name)s AND l.execution <> %(own)s
    AND l.at > now() - make_interval(hours => %(hours)s)
    AND NOT EXISTS (SELECT FROM runs r WHERE r.name = l.name AND (r.execution = l.execution OR r.started_at > l.at))
ORDER BY l.entry DESC LIMIT 1
"""
_SINCE = """
SELECT extract(epoch FROM now() - greatest(
    (SELECT max(at) FROM trigger_looks WHERE name = %(name)s AND execution <> %(own)s
        AND (%(any)s OR report ->> 'mode' = 'full')),
    (SELECT max(started_at) FROM runs WHERE name = %(name)s AND execution IS DISTINCT FROM %(own)s
        AND (%(any)s OR coalesce(recipe ->> 'mode', 'full') = 'full'))))::float8 / 3600
"""


@contextmanager
def take_turns(database_url: str, name: str) -> Iterator[None]:
    """One look at a time that may launch a turn of this model; others wait.

    Raises:
        DatabaseError: PostgreSQL is away.
    """
    with connect(database_url) as connection:
        connection.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", (f"launch:{name}",))
        yield


def find_hindrance(
    database_url: str, recipe: Recipe, own: str, *, by_hand: bool, list_running: ListRunning | None
) -> str | None:
    """What a launch has to wait for, in words; `None`: nothing.

    Args:
        database_url: PostgreSQL.
        recipe: of the turn.
        own: the name that the execution will have; one that has it is no hindrance but this launch, tried before.
        by_hand: a person asked.
        list_running: asks Flyte.
    """
    given = {"name": recipe.name, "own": own}
    with connect(database_url) as connection:
        run = connection.execute(_RUNNING, given | {"hours": BUSY_HOURS}).fetchone()
        if run is not None:
            return f"waits for {run[0]}"
        opening = connection.execute(_OPENING, given | {"hours": OPENING_HOURS}).fetchone()
        if opening is not None:
            return f"waits for {opening[0]}, which was launched and has not opened its run"
        if not by_hand and (wait := _find_wait(connection, recipe, own)) is not None:
            return wait
    running = [] if list_running is None else [name for name in list_running() if name != own]
    return f"waits for {running[0]}, which runs on Flyte" if running else None


def _find_wait(connection: Connection, recipe: Recipe, own: str) -> str | None:
    automation, small = recipe.automation, recipe.mode == "incremental"
    least = automation.incremental.least_hours_between_turns if small else automation.least_hours_between_turns
    row = connection.execute(_SINCE, {"name": recipe.name, "own": own, "any": small}).fetchone()
    if row is None or row[0] is None or row[0] >= least:
        return None
    return f"waits: the last turn was launched {row[0]:.1f} h ago, at least {least:g} h lie between two"


def name_execution(database_url: str, name: str, mode: Mode, mark: str) -> str:
    """The name of what is launched now, were it launched twice: letters and digits, as Flyte wants it."""
    with connect(database_url) as connection:
        row = connection.execute(
            "SELECT max(entry) FROM trigger_looks WHERE name = %s AND execution IS NOT NULL", (name,)
        ).fetchone()
    before = row[0] if row else None
    return "due" + hashlib.sha256(f"{name}\0{mode}\0{mark}\0{before}".encode()).hexdigest()[:16]
