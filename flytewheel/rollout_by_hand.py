"""The commands `flytewheel rollout pause|resume|force|abort|end-holdback|shadow`: what a person decides, with a reason.

What they say is stored first, and holds from then on; then the router is asked to follow at once. Where it is away, the
command says so and succeeds: routers read what is stored when they come back.
"""

from __future__ import annotations

import getpass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from flytewheel.terminal import as_json, open_services, say

if TYPE_CHECKING:
    from flytewheel.experiment.ledger import Rollout
    from flytewheel.local.services import Services
    from flytewheel.recipe import Recipe

actor_option = click.option("--actor", default=getpass.getuser, show_default="you", help="Who does it, for the log.")
recipe_option = click.option(
    "--recipe",
    "path",
    type=click.Path(path_type=Path),
    help="Stages and guardrails; without it those of the run that launched the canary.",
)
_reason = click.option("--reason", required=True, help="Why, in a few words: it stands in the log.")


@click.command("pause")
@click.argument("name")
@_reason
@actor_option
@as_json
def rollout_pause(name: str, reason: str, actor: str, json_: bool) -> None:
    """Keep the rollout of model NAME at its share; harm still takes it back."""
    from flytewheel.experiment.hands import pause

    services = open_services(with_router=False)
    _tell(pause(services.database_url, _find(services, name), reason=reason, actor=actor), None, json_)


@click.command("resume")
@click.argument("name")
@_reason
@actor_option
@as_json
def rollout_resume(name: str, reason: str, actor: str, json_: bool) -> None:
    """Let the paused rollout of model NAME go on."""
    from flytewheel.experiment.hands import resume

    services = open_services(with_router=False)
    _tell(resume(services.database_url, _find(services, name), reason=reason, actor=actor), None, json_)


@click.command("force")
@click.argument("name")
@click.option("--share", type=float, help="The treatment's part of the users, above 0 and below 1.")
@click.option("--promote", is_flag=True, help="Make the treatment the champion.")
@_reason
@recipe_option
@actor_option
@as_json
def rollout_force(
    name: str, share: float | None, promote: bool, reason: str, path: Path | None, actor: str, json_: bool
) -> None:
    """Give the rollout of model NAME another share, or promote it, whatever was counted."""
    from flytewheel.experiment.hands import force

    if (share is None) != promote or (share is not None and not 0 < share < 1):
        raise click.UsageError("expected --share with a number above 0 and below 1, or --promote, not both")
    services = open_services()
    ab_testing = read_recipe(services.database_url, name, path).ab_testing
    wanted = 1.0 if share is None else share
    found = force(services.database_url, _find(services, name), wanted, ab_testing, reason=reason, actor=actor)
    # A share is stored, and reaches the router by itself; a promotion is not done before the router has done it.
    served = follow(services, found, "promote" if promote else "force", strict=promote)
    _tell(found, served, json_)


@click.command("abort")
@click.argument("name")
@_reason
@actor_option
@as_json
def rollout_abort(name: str, reason: str, actor: str, json_: bool) -> None:
    """End the rollout of model NAME, also one that was promoted: everyone meets the champion of before."""
    from flytewheel.experiment.hands import abort

    services = open_services()
    found = abort(services.database_url, _find(services, name), reason=reason, actor=actor)
    _tell(found, follow(services, found, "abort"), json_)


@click.command("end-holdback")
@click.argument("name")
@_reason
@actor_option
@as_json
def rollout_end_holdback(name: str, reason: str, actor: str, json_: bool) -> None:
    """Let those users of model NAME meet the champion who were held back from it."""
    from flytewheel.experiment.holdback import end_holdback

    services = open_services(with_router=False)
    experiment = end_holdback(services.database_url, name, reason=reason, actor=actor)
    told = f"{experiment}: the holdback has ended; everyone meets the champion"
    say({"experiment_id": experiment, "ended_by": actor}, json_, lambda: click.echo(told))


@click.command("shadow")
@click.argument("name")
@click.argument("version")
@click.option("--share", type=float, required=True, help="Of the requests that are copied, above 0 and at most 1.")
@click.option("--hours", type=float, default=1.0, show_default=True, help="For how long.")
@click.option("--max-concurrency", type=int, default=2, show_default=True, help="Copies at a time, a worker.")
@as_json
def rollout_shadow(name: str, version: str, share: float, hours: float, max_concurrency: int, json_: bool) -> None:
    """Show VERSION of model NAME copies of the traffic; it answers nobody, and figures are kept."""
    import uuid

    from flytewheel.experiment.launch import open_shadow

    services = open_services()
    spec = {"share": share, "hours": hours, "max_concurrency": max_concurrency}
    found = open_shadow(
        services.router_url,
        services.admin_key,
        name=name,
        candidate=version,
        launch_key=f"by-hand-{uuid.uuid4().hex}",
        shadow=spec,
    )
    told = (
        f"{version} sees {share:.0%} of the traffic of {name} for {hours:g} h; next: flytewheel rollout status {name}"
    )
    say(found, json_, lambda: click.echo(told))


def follow(services: Services, found: Rollout, decision: str, *, strict: bool = False) -> str | None:
    """Has the router serve what is stored; None where it is away, which is said unless `strict` wants an error."""
    from flytewheel.errors import RouterError
    from flytewheel.experiment.rollout import carry_out

    try:
        return carry_out(
            services.database_url,
            router_url=services.router_url,
            admin_key=services.admin_key,
            experiment_id=found.experiment_id,
            decision=decision,
            fence=found.fence,
        )
    except RouterError as error:
        if strict:
            raise
        click.echo(f"stored; routers follow when they read it next: {error}", err=True)
        return None


def read_recipe(database_url: str, name: str, path: Path | None) -> Recipe:
    """The recipe of a file, or of the run that launched the model's newest canary."""
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


def describe(found: Rollout) -> str:
    """A rollout as a line."""
    return (
        f"{found.rollout_id}: {found.state}, stage {found.stage} at {found.share:.0%} for {found.stage_hours:.1f} h,"
        f" {found.treatment} against {found.control} ({found.experiment_id})"
    )


def _find(services: Services, name: str) -> str:
    from flytewheel.experiment.ledger import read_rollout

    return read_rollout(services.database_url, name)[0].rollout_id


def _tell(found: Rollout, served: str | None, json_: bool) -> None:
    def text() -> None:
        click.echo(describe(found))
        if served is not None:
            click.echo(served)

    say({"rollout": found, "served": served}, json_, text)
