"""Before the first arrow: imports what the recipe names, closes the curation window, opens or resumes the run."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import NamedTuple

from flytekit import task
from flytekit.types.directory import FlyteDirectory

from flytewheel import turn
from flytewheel.recipe import Recipe
from images import core
from tasks import DECK, SECRETS, SHORT, SMALL
from tasks.services import connect, name_execution


class Opened(NamedTuple):
    """A turn that may begin (`ready`), or the reason why not yet (`message`)."""

    run_id: str
    ready: bool
    message: str
    window: FlyteDirectory
    champion: str
    replay: str


@task(container_image=core, requests=SMALL, retries=2, timeout=SHORT, secret_requests=SECRETS, **DECK)
def open_turn(recipe: Recipe) -> Opened:
    services = connect()
    folder = services.home / "windows" / f"{datetime.now(UTC):%Y%m%dT%H%M%S%f}"
    opened = turn.open_turn(services, recipe, folder, now=datetime.now(UTC), execution=name_execution())
    return Opened(
        run_id=opened.run_id,
        ready=opened.ready,
        message=opened.message,
        window=FlyteDirectory(str(opened.window)),
        champion=opened.champion,
        replay=opened.replay,
    )
