"""The command `flytewheel`: noun verb, with `--json` where a program may read along.

Heavy modules load inside the commands, so that `--help` answers at once. Every error that a person is meant to read
is one line behind `error:`; exit 2 for a wrong recipe, setting or option, 1 for everything else.
"""

from __future__ import annotations

import errno
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from flytewheel import __version__
from flytewheel.backends_commands import backends
from flytewheel.backup_commands import backup, restore
from flytewheel.checkpoint_commands import checkpoints
from flytewheel.dataset_commands import datasets
from flytewheel.doctor_commands import doctor
from flytewheel.duel_commands import experiments_duels
from flytewheel.errors import FlytewheelError
from flytewheel.eval_commands import evaluate
from flytewheel.experiments_commands import experiments
from flytewheel.feedback_commands import feedback
from flytewheel.gate_commands import gate
from flytewheel.keys_commands import keys
from flytewheel.lineage_commands import lineage
from flytewheel.migrate_commands import migrate
from flytewheel.models_commands import models
from flytewheel.notify_commands import notify
from flytewheel.offline_commands import experiments_offline
from flytewheel.plan_commands import plan
from flytewheel.review_commands import review
from flytewheel.rollout_commands import rollout
from flytewheel.run_commands import runs
from flytewheel.suite_commands import suite
from flytewheel.terminal import as_json
from flytewheel.terminal import open_services as _services
from flytewheel.terminal import print_table as _table
from flytewheel.terminal import say as _say
from flytewheel.trigger_commands import ask as _ask_turn
from flytewheel.trigger_commands import triggers

if TYPE_CHECKING:
    from flytewheel.local.services import Services


class _Group(click.Group):
    """Prints our own errors as one line and keeps the trace for FLYTEWHEEL_DEBUG=1."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except FlytewheelError as error:
            if os.environ.get("FLYTEWHEEL_DEBUG"):
                raise
            click.echo(f"error: {error}", err=True)
            ctx.exit(error.exit_code)
        except OSError as error:  # a folder that is a file, a full disk: the machine's, not a defect of ours
            if os.environ.get("FLYTEWHEEL_DEBUG") or error.errno == errno.EPIPE:
                raise
            where = f"{error.filename}: " if error.filename else ""
            click.echo(f"error: {where}{error.strerror or error}", err=True)
            ctx.exit(1)


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="flytewheel")
def main() -> None:
    """People's reactions to your model's answers become next week's model."""


# -------------------------------------------------------------------------------- the loop


@main.command()
@click.argument("recipe", type=click.Path(path_type=Path))
@click.option(
    "--incremental/--full",
    default=None,
    help="A small turn that goes on from the champion, or a full one from the base, whatever RECIPE says as its mode.",
)
@click.option("--fresh", is_flag=True, help="Train from the beginning; unfinished trainings are set aside.")
@click.option("--reason", help="Why, for the log: kept as a request that this turn answers.")
def run(recipe: Path, incremental: bool | None, fresh: bool, reason: str | None) -> None:
    """Turn the loop once with RECIPE: prepares the environment and calls pyflyte."""
    from flytewheel.local.pyflyte import run_weekly
    from flytewheel.recipe import load_recipe
    from flytewheel.settings import read_settings

    given = load_recipe(recipe)
    asked = None if incremental is None else given.in_mode("incremental" if incremental else "full")
    settings = read_settings()
    services = _services()
    if reason is not None:
        _ask_turn(services, given.name, reason, (asked or given).mode)
    sys.exit(run_weekly(recipe, services, instead=asked, fresh=fresh, debug=settings.debug))


@main.command()
@click.option(
    "--requests", type=click.IntRange(min=1), default=240, show_default=True, help="Requests of the simulated users."
)
@click.option("--keep", is_flag=True, help="Leave the stack running at the end.")
def demo(requests: int, keep: bool) -> None:
    """One turn on the bundled feedback, then simulated users on the canary. Starts from an empty state each time."""
    from flytewheel.local.demo import run_demo
    from flytewheel.settings import read_settings

    sys.exit(run_demo(read_settings(), requests=requests, keep=keep))


# -------------------------------------------------------------------------------- the embedded stack


@main.command()
@click.option("--workers", type=click.IntRange(1, 64), help="Processes that answer; remembered for the next start.")
def up(workers: int | None) -> None:
    """Start PostgreSQL, the object store and the router on loopback; what runs already is kept."""
    services = _services(workers=workers)
    _table(("service", "address"), _addresses(services))
    if services.router_url:
        click.echo(
            f'\ncurl {services.router_url}/v1/models -H "authorization: Bearer $(flytewheel keys own)"'
            "\nkeys for others: flytewheel keys create --scope serve --name NAME"
        )


@main.command()
def down() -> None:
    """Stop the embedded stack; its data stays."""
    from flytewheel.local import stack
    from flytewheel.settings import read_settings

    settings = read_settings()
    stopped = stack.down(settings)
    click.echo(f"stopped {', '.join(stopped)}" if stopped else f"nothing runs under {settings.home}")


@main.command()
@as_json
def status(json_: bool) -> None:
    """Say which services run, and where."""
    from flytewheel.local import stack
    from flytewheel.settings import read_settings

    found = stack.status(read_settings())
    rows = [(service.name, service.state, service.pid, service.url, service.since) for service in found]
    _say(found, json_, lambda: _table(("service", "state", "pid", "address", "since"), rows))


def _addresses(services: Services) -> list[tuple[Any, ...]]:
    from flytewheel.database import describe_url

    return [
        ("database", describe_url(services.database_url)),
        ("object store", f"{services.s3_url}/{services.s3_bucket}"),
        ("router", f"{services.router_url}/v1 (models as flytewheel/NAME, docs under /docs)"),
        ("state", services.home),
    ]


# -------------------------------------------------------------------------------- experiments


experiments.add_command(experiments_duels)
experiments.add_command(experiments_offline)
main.add_command(backends)
main.add_command(backup)
main.add_command(checkpoints)
main.add_command(datasets)
main.add_command(doctor)
main.add_command(evaluate)
main.add_command(experiments)
main.add_command(feedback)
main.add_command(gate)
main.add_command(lineage)
main.add_command(keys)
main.add_command(migrate)
main.add_command(models)
main.add_command(notify)
main.add_command(plan)
main.add_command(restore)
main.add_command(review)
main.add_command(rollout)
main.add_command(runs)
main.add_command(suite)
main.add_command(triggers)

if __name__ == "__main__":
    main()
