"""The commands `flytewheel models promote|rollback|history`: which version is champion, and who decided it.

They move the alias in the registry, which routers follow at once where they are told, within seconds where not. While
an experiment runs, its control is what users get, whatever the alias says: promoting is refused then, and a rollback
says what else is to be done.
"""

from __future__ import annotations

import getpass
from typing import TYPE_CHECKING

import click

from flytewheel.terminal import as_json, open_registry, open_services, print_table, say

if TYPE_CHECKING:
    from flytewheel.experiment.experiments import Experiment
    from registry.aliases import Move

_by = click.option("--by", default=getpass.getuser, show_default="you", help="Who decides it, for the history.")
_expect = click.option(
    "--expect", metavar="VERSION", help="The champion that you looked at; refused when it is another one by now."
)


@click.command("promote")
@click.argument("name")
@click.argument("version")
@_expect
@click.option("--reason", required=True, help="Why, in a few words: it stands in the history.")
@_by
@as_json
def models_promote(name: str, version: str, expect: str | None, reason: str, by: str, json_: bool) -> None:
    """Make VERSION (or what an alias stands for) the champion of model NAME; `previous` becomes the one before."""
    from flytewheel.errors import RegistryError

    registry = open_registry()
    wanted = registry.show(name, version).version
    expected = (registry.get_alias(name, "champion") or "") if expect is None else expect
    if running := _running(name):
        raise RegistryError(
            f"{name}: experiment {running.experiment_id} compares {running.control} with {running.treatment}; let "
            f"its rollout end (flytewheel rollout status {name}), or PUT /models/{name}/champion at the router"
        )
    move = registry.promote(name, wanted, expected, by=by, reason=reason)
    _announce(name)

    def text() -> None:
        if move is None:
            click.echo(f"{name}: {wanted} is champion already, nothing was moved")
        else:
            click.echo(f"{name}: champion {move.was or 'nothing'} → {move.version}{_next(name, move)}")

    say({"move": move, "champion": wanted, "previous": registry.get_alias(name, "previous")}, json_, text)


@click.command("rollback")
@click.argument("name")
@_expect
@click.option("--reason", required=True, help="Why, in a few words: it stands in the history.")
@_by
@as_json
def models_rollback(name: str, expect: str | None, reason: str, by: str, json_: bool) -> None:
    """Let the champion before this one be champion of model NAME again."""
    registry = open_registry()
    move = registry.roll_back(name, expect, by=by, reason=reason)
    _announce(name)
    running = _running(name)

    def text() -> None:
        click.echo(f"{name}: champion {move.was} → {move.version} again{_next(name, move)}")
        if running:
            click.echo(
                f"experiment {running.experiment_id} still gives users {running.control} and {running.treatment}; "
                f"PUT /models/{name}/champion at the router ends it"
            )

    found = {"move": move, "champion": move.version, "previous": registry.get_alias(name, "previous")}
    say({**found, "running_experiment": running.experiment_id if running else None}, json_, text)


@click.command("history")
@click.argument("name")
@click.argument("alias", default="champion")
@as_json
def models_history(name: str, alias: str, json_: bool) -> None:
    """Show every move of ALIAS (the champion): when, from where to where, by whom and why."""
    from flytewheel.errors import RegistryError

    registry = open_registry()
    found = registry.history(name, alias)
    if not found and name not in registry.names():
        raise RegistryError(registry.describe_known(name))
    rows = [(f"{each.at:%Y-%m-%d %H:%M}", each.kind, each.was, each.version, each.by, each.reason) for each in found]
    say(found, json_, lambda: print_table(("at", "what", "from", "to", "who", "why"), rows))


def _announce(name: str) -> None:
    """Routers need not wait for their next look."""
    from flytewheel.database import announce_change

    announce_change(open_services(with_router=False).database_url, "champion", name)


def _running(name: str) -> Experiment | None:
    from flytewheel.experiment.experiments import list_experiments

    database_url = open_services(with_router=False).database_url
    return next(iter(list_experiments(database_url, name=name, running=True)), None)


def _next(name: str, move: Move) -> str:
    return f"; back with: flytewheel models rollback {name}" if move.trail else ""
