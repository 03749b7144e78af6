"""The arrow from GGUF to an immutable version. Its side effect is keyed by the run: trying again gives the same
version.
"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from flytekit import Deck, task
from flytekit.types.directory import FlyteDirectory

from flytewheel import decks, release
from flytewheel.runs import run_station
from images import core
from tasks import DECK, SHORT, SIGNING_SECRETS, SMALL
from tasks.services import connect


class Registered(NamedTuple):
    """The candidate's version and the one that it is to be compared with."""

    version: str
    control: str


@task(container_image=core, requests=SMALL, retries=3, timeout=SHORT, secret_requests=SIGNING_SECRETS, **DECK)
def register(run_id: str, champion: str, exported: FlyteDirectory) -> Registered:
    """Registers the exported candidate as an immutable, signed version; the same run gives the same one.

    Args:
        run_id: the turn, as `open_turn` named it.
        champion: version in service; empty where it is the bare base.
        exported: the GGUF files with their reports.

    Returns:
        The version, and the one that it is to be compared with.
    """
    services = connect()
    with run_station(services.database_url, services.home, run_id, "register") as station:
        version, control = release.register_versions(
            services,
            station.run,
            Path(exported.download()),
            champion=champion,
            now=datetime.now(UTC),
            progress=station.progress,
        )
        station.report = {"version": version, "control": control}
        Deck("version", station.show(decks.describe("register", station.report)))
        return Registered(version=version, control=control)
