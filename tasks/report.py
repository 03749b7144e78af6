"""After the last arrow: the table that a turn ends with, or the reason why it ended early."""

from __future__ import annotations

import sys

from flytekit import Deck, task
from flytekit.types.directory import FlyteDirectory
from flytekit.types.error.error import FlyteError

from flytewheel import decks, summary, turn
from flytewheel.recipe import Recipe
from images import core
from tasks import DECK, SECRETS, SHORT, SMALL
from tasks.judge import Judged
from tasks.services import connect, find_database, name_execution


@task(container_image=core, requests=SMALL, retries=2, timeout=SHORT)
def wait_for_more(message: str, window: FlyteDirectory) -> Judged:
    print(message, flush=True)
    return Judged(decision="not_yet", dataset=window, candidate=window)


@task(container_image=core, requests=SMALL, retries=2, timeout=SHORT)
def keep_champion(decision: str) -> str:
    return decision


@task(container_image=core, requests=SMALL, retries=2, timeout=SHORT, secret_requests=SECRETS, **DECK)
def report(run_id: str, message: str, outcome: str) -> str:
    if not run_id:
        return message
    services = connect()
    turn.finish_turn(services, run_id)
    table = summary.summarise(services, run_id)
    table.print()
    Deck("turn", decks.describe("turn", table.facts()))
    return outcome


@task(container_image=core, requests=SMALL, retries=2, timeout=SHORT, secret_requests=SECRETS)
def record_failure(recipe: Recipe, err: FlyteError | None = None) -> None:
    sys.stdout = sys.stderr  # the last thing that runs: what Flyte prints next is its trace, pages long, to stdout
    node, message = (err.failed_node_id, err.message) if err else ("", "")
    print(turn.record_failure(find_database(), name_execution(), node, message))
