"""After the last arrow: the table that a turn ends with, or the reason why it ended early; both are told to people."""

from __future__ import annotations

import sys
from datetime import UTC, datetime

from flytekit import Deck, task
from flytekit.types.directory import FlyteDirectory
from flytekit.types.error.error import FlyteError

from flytewheel import decks, summary, turn
from flytewheel.announcements import announce_turn
from flytewheel.failures import note_in_registry, note_on_run
from flytewheel.recipe import Recipe
from images import core
from tasks import DECK, PLAIN, SHORT, SMALL, TELLING_SECRETS
from tasks.judge import Judged
from tasks.services import connect, find_database, name_execution, open_log, tell_people


@task(container_image=core, requests=SMALL, retries=2, timeout=SHORT, **PLAIN)
def wait_for_more(message: str, window: FlyteDirectory) -> Judged:
    """Ends a turn that may not begin yet.

    Args:
        message: what it waits for.
        window: that was closed all the same.

    Returns:
        `not_yet`, about nothing.
    """
    print(message, flush=True)
    return Judged(decision="not_yet", dataset=window, candidate=window)


@task(container_image=core, requests=SMALL, retries=2, timeout=SHORT, **PLAIN)
def keep_champion(decision: str) -> str:
    """Ends a turn whose candidate is not released.

    Args:
        decision: the gate's.

    Returns:
        The same.
    """
    return decision


@task(container_image=core, requests=SMALL, retries=2, timeout=SHORT, secret_requests=TELLING_SECRETS, **DECK)
def report(recipe: Recipe, run_id: str, message: str, outcome: str) -> str:
    """Closes a turn: its table as a deck and in the log, and a message to people.

    Args:
        recipe: names who gets mail.
        run_id: the turn; empty where none was begun.
        message: why not, then.
        outcome: the gate's decision, or the experiment that was launched.

    Returns:
        The outcome, or why nothing was begun.
    """
    if not run_id:
        return message
    services = connect()
    turn.finish_turn(services, run_id)
    table = summary.summarise(services, run_id)
    table.print()
    Deck("turn", decks.describe("turn", table.facts()))
    tell_people(recipe, announce_turn(recipe.name, run_id, table.facts(), at=datetime.now(UTC)))
    return outcome


@task(container_image=core, requests=SMALL, retries=2, timeout=SHORT, secret_requests=TELLING_SECRETS, **PLAIN)
def record_failure(recipe: Recipe, err: FlyteError | None = None) -> None:
    """Notes which station of which execution failed and why: on the run, in the registry's log, and to people.

    Args:
        recipe: of the execution that failed.
        err: what Flyte knows of it.
    """
    sys.stdout = sys.stderr  # the last thing that runs: what Flyte prints next is its trace, pages long, to stdout
    node, message = (err.failed_node_id, err.message) if err else ("", "")
    failure = note_on_run(find_database(), recipe.name, name_execution(), node, message, at=datetime.now(UTC))
    print(note_in_registry(open_log, failure))
    tell_people(recipe, failure.to_message())
    print(failure.line)
