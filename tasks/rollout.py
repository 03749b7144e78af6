"""The arrow from canary to everyone, or back: the tick decides and stores, the others have the router follow at once.

A tick's decision is stored with its evidence in one transaction, so trying any of these again changes nothing more.
"""

from __future__ import annotations

from typing import NamedTuple

from flytekit import Deck, task

from flytewheel import decks
from flytewheel.errors import ExperimentError
from flytewheel.experiment import driving, rollout
from flytewheel.recipe import Recipe
from images import core
from tasks import DECK, PLAIN, SECRETS, SHORT, SMALL, TELLING_SECRETS
from tasks.services import connect, name_execution, tell_decision


class Ticked(NamedTuple):
    """A decision (flytewheel/experiment/decision.py) about an experiment, at a fencing token; `message` says why."""

    decision: str
    experiment_id: str
    fence: int
    message: str


@task(container_image=core, requests=SMALL, retries=3, timeout=SHORT, secret_requests=TELLING_SECRETS, **DECK)
def tick_rollout(recipe: Recipe) -> Ticked:
    """Looks at the running canary once, and decides the step that is due.

    Args:
        recipe: everything that decides this turn.

    Returns:
        The decision, with its reasons.
    """
    services = connect()
    found = driving.look(
        services.database_url,
        recipe.ab_testing,
        recipe.automation,
        router_url=services.router_url,
        admin_key=services.admin_key,
        name=recipe.name,
        actor=_name_actor(),
        rewards=recipe.feedback.rewards,
    )
    ticked = found.tick
    Deck("rollout", decks.describe("rollout", ticked.facts()))
    tell_decision(recipe, ticked)
    message = f"{ticked.decision}: {'; '.join(ticked.reasons)}"
    print(message, flush=True)
    return Ticked(ticked.decision, ticked.experiment_id, ticked.fence, message)


@task(container_image=core, requests=SMALL, retries=3, timeout=SHORT, secret_requests=SECRETS, **DECK)
def advance(decision: str, experiment_id: str, fence: int, message: str) -> str:
    """Has the router serve the larger share, or everybody, at once.

    Args:
        decision: what the tick decided.
        experiment_id: the canary's experiment.
        fence: the rollout's fencing token at that decision.
        message: why, in one line.

    Returns:
        What is served now.
    """
    return _carry_out(decision, experiment_id, fence, message)


@task(container_image=core, requests=SMALL, retries=3, timeout=SHORT, secret_requests=SECRETS, **DECK)
def roll_back(decision: str, experiment_id: str, fence: int, message: str) -> str:
    """Has the router serve the champion alone, at once.

    Args:
        decision: what the tick decided.
        experiment_id: the canary's experiment.
        fence: the rollout's fencing token at that decision.
        message: why, in one line.

    Returns:
        What is served now.
    """
    return _carry_out(decision, experiment_id, fence, message)


@task(container_image=core, requests=SMALL, retries=2, timeout=SHORT, **PLAIN)
def keep_stage(message: str) -> str:
    """Leaves the canary as it is.

    Args:
        message: why, in one line.

    Returns:
        Why.
    """
    return message


@task(container_image=core, requests=SMALL, retries=3, timeout=SHORT, secret_requests=SECRETS, **DECK)
def take_approval(rollout_id: str, fence: int, message: str) -> str:
    """A person's word, given at Flyte's `approve` node, for the step that was waiting then; not for a later one.

    Args:
        rollout_id: the release.
        fence: its fencing token when it began to wait.
        message: what the person was asked.

    Returns:
        What became of it.
    """
    database_url = connect().database_url
    try:
        rollout.approve(database_url, rollout_id, _name_actor("approved in"), fence=fence)
    except ExperimentError as error:
        message = f"too late: {error}"
    Deck("rollout", decks.describe("approval", {"said": message}))
    return message


def _name_actor(what: str = "execution") -> str:
    return f"{what} {name_execution()}"


def _carry_out(decision: str, experiment_id: str, fence: int, message: str) -> str:
    services = connect()
    served = rollout.carry_out(
        services.database_url,
        router_url=services.router_url,
        admin_key=services.admin_key,
        experiment_id=experiment_id,
        decision=decision,
        fence=fence,
    )
    Deck("rollout", decks.describe("rollout", {"decision": message, "served": served}))
    return f"{message}; {served}"
