"""The commands `flytewheel rollout …`: where a canary's release stands, looks at it, and a person's approval."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from flytewheel.rollout_by_hand import (
    actor_option,
    describe,
    read_recipe,
    recipe_option,
    rollout_abort,
    rollout_end_holdback,
    rollout_force,
    rollout_pause,
    rollout_resume,
    rollout_shadow,
)
from flytewheel.terminal import as_json, open_services, print_table, say

if TYPE_CHECKING:
    from flytewheel.experiment.driving import Step
    from flytewheel.local.services import Services


@click.group()
def rollout() -> None:
    """The release of a canary, stage by stage."""


@rollout.command("status")
@click.argument("name")
@as_json
def rollout_status(name: str, json_: bool) -> None:
    """Show the newest rollout of model NAME and its log."""
    from flytewheel.database import connect
    from flytewheel.experiment.drills import describe_drill, read_drill
    from flytewheel.experiment.experiments import get_experiment
    from flytewheel.experiment.ledger import read_rollout
    from flytewheel.experiment.shadows import describe_shadow, read_shadow

    database_url = open_services().database_url
    found, log = read_rollout(database_url, name)
    experiment = get_experiment(database_url, found.experiment_id)
    with connect(database_url) as connection:
        drill = read_drill(connection, found.experiment_id)
        shadow = read_shadow(connection, name, found.treatment)

    def text() -> None:
        click.echo(describe(found))
        if experiment.held_back and experiment.holdback_until is not None:
            held, until = 1 - experiment.share, experiment.holdback_until
            click.echo(f"holdback: {held:.0%} of the users stay on {found.control} until {until:%Y-%m-%d %H:%M}")
        if drill is not None:
            click.echo(f"way back: {describe_drill(drill)}")
        if shadow is not None:
            click.echo(f"shadow: {describe_shadow(shadow)}")
        rows = [(f"{entry.at:%Y-%m-%d %H:%M}", entry.actor, entry.action, _because(entry.detail)) for entry in log]
        print_table(("at", "who", "what", "why"), rows)

    say({"rollout": found, "experiment": experiment, "drill": drill, "shadow": shadow, "log": log}, json_, text)


@rollout.command("tick")
@click.argument("name")
@recipe_option
@actor_option
@as_json
def rollout_tick(name: str, path: Path | None, actor: str, json_: bool) -> None:
    """Look at the rollout of model NAME once, and take the step that is due."""
    services = open_services()
    found = _step(services, name, path, actor)

    def text() -> None:
        print_table(("fact", "value"), list(_facts(found).items()))

    say({"tick": found.tick, "served": found.served, "drill": found.drill}, json_, text)


@rollout.command("watch")
@click.argument("name")
@recipe_option
@click.option("--every", "every_s", type=float, default=3600.0, show_default=True, help="Seconds from look to look.")
@click.option("--looks", type=click.IntRange(min=1), help="Look so often at most; without it until the end.")
@actor_option
@as_json
def rollout_watch(name: str, path: Path | None, every_s: float, looks: int | None, actor: str, json_: bool) -> None:
    """Look at the rollout of model NAME again and again, and take each step that is due, until it has ended.

    What Flyte does on a cluster. It may be stopped and started at any time, and several may run: what is decided is
    stored, and each step is taken once.
    """
    import time

    from flytewheel.errors import DatabaseError, ExperimentError, RouterError

    services = open_services()
    for number in itertools.count(1):
        try:
            found = _step(services, name, path, actor)
        except (DatabaseError, RouterError, ExperimentError) as error:
            click.echo(f"looks again in {every_s:g} s: {error}", err=True)
        else:
            say(
                {"tick": found.tick, "served": found.served, "drill": found.drill},
                json_,
                partial(click.echo, found.message),
            )
            if found.ended:
                return
            if found.waits:
                click.echo(f"next: flytewheel rollout approve {name}", err=True)
        if number == looks:
            return
        time.sleep(every_s)


@rollout.command("approve")
@click.argument("name")
@actor_option
@as_json
def rollout_approve(name: str, actor: str, json_: bool) -> None:
    """Let the cleared rollout of model NAME take its next step, at the next tick."""
    from flytewheel.experiment.ledger import read_rollout
    from flytewheel.experiment.rollout import approve

    database_url = open_services().database_url
    found, _ = read_rollout(database_url, name)
    approve(database_url, found.rollout_id, actor, fence=found.fence)

    def text() -> None:
        click.echo(f"{found.rollout_id}: approved by {actor}; next: flytewheel rollout tick {name}")

    say({"rollout_id": found.rollout_id, "stage": found.stage, "approved_by": actor}, json_, text)


for command in (rollout_pause, rollout_resume, rollout_force, rollout_abort, rollout_end_holdback, rollout_shadow):
    rollout.add_command(command)


def _step(services: Services, name: str, path: Path | None, actor: str) -> Step:
    """One look with all that follows from it; people are told of a step as they are on a cluster."""
    from flytewheel.announcements import announce_decision
    from flytewheel.experiment.driving import step
    from flytewheel.notify.telling import tell
    from flytewheel.settings import read_settings

    recipe = read_recipe(services.database_url, name, path)
    found = step(
        services.database_url,
        recipe.ab_testing,
        recipe.automation,
        router_url=services.router_url,
        admin_key=services.admin_key,
        name=name,
        actor=actor,
        rewards=recipe.feedback.rewards,
    )
    taken = found.tick
    message = announce_decision(
        name, taken.experiment_id, taken.decision, taken.reasons, fence=taken.fence, at=datetime.now(UTC)
    )
    if message is not None:
        tell(
            message,
            read_settings(),
            database_url=services.database_url,
            mail_to=recipe.automation.notify.email,
        )
    return found


def _facts(found: Step) -> dict[str, str]:
    from flytewheel.experiment.drills import describe_drill

    facts = found.tick.facts()
    if found.drill is not None:
        facts["way back"] = describe_drill(found.drill)
    return facts | ({"served": found.served} if found.served else {})


def _because(detail: Any) -> str:
    return "; ".join(detail["reasons"]) if "reasons" in detail else str(detail.get("reason", ""))
