"""The commands `flytewheel rollout …`: where a canary's release stands, one look at it, and a person's approval."""

from __future__ import annotations

import getpass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from flytewheel.terminal import as_json, open_services, print_table, say

if TYPE_CHECKING:
    from flytewheel.experiment.ledger import Rollout
    from flytewheel.recipe import Recipe

actor_option = click.option("--actor", default=getpass.getuser, show_default="you", help="Who does it, for the log.")


@click.group()
def rollout() -> None:
    """The release of a canary, stage by stage."""


@rollout.command("status")
@click.argument("name")
@as_json
def rollout_status(name: str, json_: bool) -> None:
    """Show the newest rollout of model NAME and its log."""
    from flytewheel.experiment.ledger import read_rollout

    found, log = read_rollout(open_services().database_url, name)

    def text() -> None:
        click.echo(_describe(found))
        rows = [(f"{entry.at:%Y-%m-%d %H:%M}", entry.actor, entry.action, _because(entry.detail)) for entry in log]
        print_table(("at", "who", "what", "why"), rows)

    say({"rollout": found, "log": log}, json_, text)


@rollout.command("tick")
@click.argument("name")
@click.option(
    "--recipe",
    "path",
    type=click.Path(path_type=Path),
    help="Stages and guardrails; without it those of the run that launched the canary.",
)
@actor_option
@as_json
def rollout_tick(name: str, path: Path | None, actor: str, json_: bool) -> None:
    """Look at the rollout of model NAME once, and take the step that is due."""
    from flytewheel.experiment import rollout as release

    services = open_services()
    recipe = _read_recipe(services.database_url, name, path)
    worth = recipe.feedback.rewards
    ticked = release.tick(
        services.database_url, recipe.ab_testing, recipe.automation, name=name, actor=actor, rewards=worth
    )
    served = None
    if ticked.decision not in ("hold", "none"):
        served = release.carry_out(
            services.database_url,
            router_url=services.router_url,
            admin_key=services.admin_key,
            experiment_id=ticked.experiment_id,
            decision=ticked.decision,
            fence=ticked.fence,
        )

    def text() -> None:
        print_table(("fact", "value"), list(ticked.facts().items()) + ([("served", served)] if served else []))

    say({"tick": ticked, "served": served}, json_, text)


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
    approve(database_url, found.rollout_id, actor)

    def text() -> None:
        click.echo(f"{found.rollout_id}: approved by {actor}; next: flytewheel rollout tick {name}")

    say({"rollout_id": found.rollout_id, "stage": found.stage, "approved_by": actor}, json_, text)


def _read_recipe(database_url: str, name: str, path: Path | None) -> Recipe:
    from flytewheel.errors import DatabaseError
    from flytewheel.experiment.experiments import get_experiment
    from flytewheel.experiment.ledger import read_rollout
    from flytewheel.recipe import load_recipe
    from flytewheel.runs import read_run

    if path is not None:
        return load_recipe(path)
    found, _ = read_rollout(database_url, name)
    key = get_experiment(database_url, found.experiment_id).launch_key
    try:
        return read_run(database_url, key).recipe
    except DatabaseError as error:
        raise DatabaseError(f"{error}; or name the recipe with --recipe") from None


def _describe(found: Rollout) -> str:
    return (
        f"{found.rollout_id}: {found.state}, stage {found.stage} at {found.share:.0%} for {found.stage_hours:.1f} h,"
        f" {found.treatment} against {found.control} ({found.experiment_id})"
    )


def _because(detail: Any) -> str:
    return "; ".join(detail["reasons"]) if "reasons" in detail else str(detail.get("reason", ""))
