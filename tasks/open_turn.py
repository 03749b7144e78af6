"""Before the first arrow: imports what the recipe names, decides where the turn begins, closes the curation window,
opens or resumes the run.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import NamedTuple

from flytekit import task
from flytekit.types.directory import FlyteDirectory

from flytewheel import turn
from flytewheel.recipe import Recipe
from images import core
from tasks import DECK, SECRETS, SHORT, SMALL
from tasks.folders import new_folder
from tasks.services import connect, name_execution, name_fresh_start


class Opened(NamedTuple):
    """A turn that may begin (`ready`), or the reason why not yet (`message`). What is run is `recipe`: another one than
    was given where that wants a small turn. `start` holds the adapter to go on from, if there is one.
    """

    run_id: str
    ready: bool
    message: str
    window: FlyteDirectory
    champion: str
    replay: str
    recipe: Recipe
    start: FlyteDirectory


@task(container_image=core, requests=SMALL, retries=2, timeout=SHORT, secret_requests=SECRETS, **DECK)
def open_turn(recipe: Recipe) -> Opened:
    """Imports what the recipe names, closes the curation window, and opens or resumes the run.

    Args:
        recipe: everything that decides this turn.

    Returns:
        What is to be run, or why not yet.
    """
    # The window holds people's words: it lies in the task's scratch folder and goes with it.
    opened = turn.open_turn(
        connect(),
        recipe,
        new_folder("window"),
        start=new_folder("start"),
        now=datetime.now(UTC),
        execution=name_execution(),
        fresh=name_fresh_start() is not None,
    )
    return Opened(
        run_id=opened.run_id,
        ready=opened.ready,
        message=opened.message,
        window=FlyteDirectory(str(opened.window)),
        champion=opened.champion,
        replay=opened.replay,
        recipe=opened.recipe,
        start=FlyteDirectory(str(opened.start)),
    )
