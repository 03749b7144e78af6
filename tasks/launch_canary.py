"""The arrow from version to people: control = champion, treatment = candidate, a small sticky share. Keyed by the
run.
"""

from __future__ import annotations

from flytekit import Deck, task

from flytewheel import decks, release
from flytewheel.recipe import AbTestingSpec, AutomationSpec
from flytewheel.runs import run_station
from images import core
from tasks import DECK, SECRETS, SHORT, SMALL
from tasks.services import connect


@task(container_image=core, requests=SMALL, retries=3, timeout=SHORT, secret_requests=SECRETS, **DECK)
def launch_canary(
    run_id: str, version: str, control: str, ab_testing: AbTestingSpec, automation: AutomationSpec
) -> str:
    services = connect()
    with run_station(services.database_url, services.home, run_id, "launch_canary") as station:
        station.report = release.launch_canary(
            services, station.run, version=version, control=control, ab_testing=ab_testing, automation=automation
        )
        Deck("canary", station.show(decks.describe("launch_canary", station.report)))
        return str(station.report["experiment_id"])
