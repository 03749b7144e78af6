"""The arrow from version to people: control = champion, treatment = candidate, a small sticky share. Keyed by the
run.
"""

from __future__ import annotations

from flytekit import Deck, task

from flytewheel import decks, release
from flytewheel.recipe import AbTestingSpec, AutomationSpec, Recipe
from flytewheel.records import digest
from flytewheel.runs import run_station
from images import core
from tasks import DECK, PLAIN, SECRETS, SHORT, SMALL
from tasks.remote import BusyError, launch_rollout
from tasks.services import connect, is_on_cluster


@task(container_image=core, requests=SMALL, retries=3, timeout=SHORT, secret_requests=SECRETS, **DECK)
def launch_canary(
    run_id: str, version: str, control: str, ab_testing: AbTestingSpec, automation: AutomationSpec
) -> str:
    """Gives the version a small, sticky share of the traffic; the same run opens one experiment.

    Args:
        run_id: the turn, as `open_turn` named it.
        version: the candidate's version.
        control: the version that it is compared with.
        ab_testing: stages, metrics and margins of the canary.
        automation: what happens without a person.

    Returns:
        The experiment's id; empty where the recipe wants none.
    """
    services = connect()
    with run_station(services.database_url, services.home, run_id, "launch_canary") as station:
        station.report = release.launch_canary(
            services, station.run, version=version, control=control, ab_testing=ab_testing, automation=automation
        )
        Deck("canary", station.show(decks.describe("launch_canary", station.report)))
        return str(station.report["experiment_id"])


@task(container_image=core, requests=SMALL, retries=3, timeout=SHORT, secret_requests=SECRETS, **PLAIN)
def start_rollout(recipe: Recipe, experiment_id: str) -> str:
    """Has the release begin at once: launches `rollout_on_register`, and does not wait for it, since it takes days.

    Args:
        recipe: that the release goes by.
        experiment_id: the canary; empty where none was launched.

    Returns:
        The experiment's id.
    """
    if experiment_id and is_on_cluster():
        try:
            print(f"rollout: {launch_rollout(recipe, f'r{digest(experiment_id)[:16]}')}", flush=True)
        except BusyError as error:  # its schedule takes this one on
            print(f"rollout: {error}", flush=True)
    return experiment_id
