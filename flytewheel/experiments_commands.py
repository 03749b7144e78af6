"""The commands `flytewheel experiments …`: which there are, what has come of one, and one as it goes on."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import click

from flytewheel.terminal import as_json, open_services, print_table, say

if TYPE_CHECKING:
    from flytewheel.experiment.planning.plan import Plan
    from flytewheel.experiment.reading.history import History

_COLOURS = {
    "harm": "red",
    "hold": "yellow",
    "cleared": "green",
    "promote": "green",
    "advance": "green",
    "roll_back": "red",
    "stop_for_srm": "red",
    "reject_at_max_duration": "red",
}
_SIGNS = {"harm": "✖", "hold": "…", "cleared": "✔", "worse": "✖", "better": "✔", "watch": "·"}


@click.group()
def experiments() -> None:
    """Canaries and other comparisons at the router."""


@experiments.command("list")
@click.option("--name", help="Of one model only.")
@click.option("--running", is_flag=True, help="Only those that run.")
@as_json
def experiments_list(name: str | None, running: bool, json_: bool) -> None:
    """List experiments with their verdicts, the newest first."""
    from flytewheel.experiment.reading.summary import summarise

    found = summarise(open_services(with_router=False).database_url, name=name, running=running)
    head = ("experiment", "model", "state", "control", "treatment", "share", "stage", "users", "verdict")
    rows = [
        (
            one.experiment_id,
            one.name,
            one.state,
            one.control,
            one.treatment,
            f"{one.share:.0%}",
            one.stage,
            None if one.users is None else f"{one.users:,}",
            one.verdict,
        )
        for one in found
    ]
    say(found, json_, lambda: print_table(head, rows))


@experiments.command("show")
@click.argument("asked", metavar="EXPERIMENT|MODEL")
@as_json
def experiments_show(asked: str, json_: bool) -> None:
    """Show what has come of an experiment, or of the newest one of a model: the verdict in words, then the figures."""
    from flytewheel.experiment.reading.history import find_id, read_history

    database_url = open_services(with_router=False).database_url
    history = read_history(database_url, find_id(database_url, asked))
    say(_describe(history), json_, lambda: _print(history))


@experiments.command("watch")
@click.argument("asked", metavar="EXPERIMENT|MODEL")
@click.option("--every", "every_s", type=click.FloatRange(min=0.1), default=5.0, show_default=True, help="Seconds.")
@as_json
def experiments_watch(asked: str, every_s: float, json_: bool) -> None:
    """Show an experiment again whenever something has changed, until it has ended. With --json one line a change.

    Looking changes nothing: ticks decide. Ctrl-C leaves.
    """
    from flytewheel.experiment.reading.history import find_id, read_history

    database_url = open_services(with_router=False).database_url
    experiment_id = find_id(database_url, asked)
    before: str | None = None
    try:
        while True:
            history = read_history(database_url, experiment_id)
            told = _to_line(history)
            if told != before:
                before = told
                _redraw(history, told, json_)
            if not (history.experiment.running or history.experiment.draft):
                return
            time.sleep(every_s)
    except KeyboardInterrupt:
        click.echo("", err=True)
        raise click.exceptions.Exit(130) from None


def _redraw(history: History, line: str, json_: bool) -> None:
    if json_:
        click.echo(line)
        return
    click.clear()  # nothing where this is no terminal
    _print(history)
    click.echo()


def _to_line(history: History) -> str:
    """What a change is seen by: everything but the clock."""
    from flytewheel.records import to_jsonable

    described = _describe(history)
    described.pop("as_of")
    return json.dumps(to_jsonable(described), ensure_ascii=False, default=str)


def _describe(history: History) -> dict[str, Any]:
    from flytewheel.experiment.reading.sentence import name_verdict, tell

    return {
        "experiment": history.experiment,
        "verdict": name_verdict(history),
        "sentence": tell(history),
        "stage": None if history.rollout is None else history.rollout.stage,
        "rollout": None if history.rollout is None else history.rollout.state,
        "arms": history.arms,
        "exposed": history.exposed,
        "looks": history.looks,
        "gains": history.gains,
        "as_of": history.as_of,
    }


def _print(history: History) -> None:
    from flytewheel.experiment.reading.sentence import VERDICTS, describe_interval, describe_margin, name_verdict, tell

    experiment, verdict = history.experiment, name_verdict(history)
    click.echo(
        f"{experiment.experiment_id}: {experiment.name}, {experiment.treatment} at {experiment.share:.0%}"
        f" against {experiment.control}"
    )
    click.secho(VERDICTS[verdict], fg=_COLOURS.get(verdict), bold=True)
    click.echo(tell(history))
    if history.arms:
        click.echo()
        rows = [
            (
                arm.arm,
                arm.version,
                f"{arm.share:.0%}",
                f"{arm.users:,}",
                f"{arm.requests:,}",
                "" if arm.p95_ms is None else f"{arm.p95_ms:,.0f} ms",
            )
            for arm in history.arms
        ]
        print_table(("arm", "version", "share", "users", "requests", "p95"), rows)
    if history.gains:
        from flytewheel.experiment.reading.gain_words import HEADS, row_gain

        click.echo()
        print_table(HEADS, [row_gain(gain) for gain in history.gains])
    last = history.last
    if last is None:
        return
    click.echo()
    table: list[tuple[Any, ...]] = [
        (
            found.metric if found.role == "guardrail" else f"{found.metric} ({found.role})",
            f"{_SIGNS[found.outcome]} {found.outcome}",
            _show(found.control),
            _show(found.treatment),
            "" if found.difference is None else describe_interval(found).removesuffix(" than"),
            describe_margin(found),
            found.reason,
        )
        for found in last.findings
    ]
    print_table(("metric", "outcome", "control", "treatment", "difference, any look", "allowed", "why"), table)
    odds = "" if last.log_e_srm is None else f" (ln e {last.log_e_srm:+.2f}, broken from 6.91)"
    click.echo(f"split: {'broken' if last.mismatch else 'as it should be'}{odds}")
    click.echo(f"last look: {last.at:%Y-%m-%d %H:%M} by {last.actor}, stage {last.stage}, evidence {last.digest[:12]}")


def _show(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}"


@experiments.command("holdout")
@click.option("--share", type=click.FloatRange(0, 1, max_open=True), help="Of all users, drawn by hash.")
@click.option("--add", multiple=True, metavar="USER", help="A user by id; may be given more than once.")
@click.option("--remove", multiple=True, metavar="USER", help="A user of the list who is held out no more.")
@click.option("--users", type=click.File(encoding="utf-8"), help="A file of ids to add, one a line.")
@as_json
def experiments_holdout(
    share: float | None, add: tuple[str, ...], remove: tuple[str, ...], users: TextIO | None, json_: bool
) -> None:
    """Keep users out of every experiment that opens from now on: they meet champions only. Those that run keep theirs.

    Without options it says who is held out. Of listed users only a hash is kept.
    """
    from flytewheel.experiment.layers import change_holdout

    listed = [line.strip() for line in users if line.strip()] if users is not None else []
    database_url = open_services(with_router=False).database_url
    found = change_holdout(database_url, share=share, add=[*add, *listed], remove=remove)

    def text() -> None:
        click.echo(f"held out: {found.share:.2%} of all users by hash, and {len(found.users):,} by list")

    say({"share": found.share, "listed": len(found.users)}, json_, text)


# ------------------------------------------------------------------------------------------------------------ planning


class Stated(click.ParamType["tuple[str, float]"]):
    """`METRIC=NUMBER`."""

    name = "METRIC=NUMBER"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, float]:
        """The metric and the number."""
        metric, equals, number = str(value).partition("=")
        try:
            if equals and metric:
                return metric.strip(), float(number)
        except ValueError:
            pass
        self.fail(f"expected METRIC=NUMBER, such as error_rate=0.008, not {value!r}", param, ctx)


@experiments.command("plan")
@click.argument("recipe", type=click.Path(path_type=Path))
@click.option("--users-per-day", type=click.FloatRange(min=0, min_open=True), help="Different users on a day.")
@click.option("--returning", type=click.FloatRange(0, 1), help="Of them, the part that is there on another day.")
@click.option("--requests", type=click.FloatRange(min=0, min_open=True), help="Of a user on a day.")
@click.option("--requests-spread", type=click.FloatRange(min=0), help="Standard deviation of that between users.")
@click.option("--votes", type=click.FloatRange(0, 1, min_open=True), help="Of the requests, those that get a vote.")
@click.option("--baseline", "baselines", type=Stated(), multiple=True, help="A metric's rate today.")
@click.option("--harm", "harms", type=Stated(), multiple=True, help="To be found: worse by this. Default: 3 margins.")
@click.option("--days", type=click.IntRange(min=1), default=28, show_default=True, help="Of the past that are read.")
@click.option("--max-days", type=click.FloatRange(min=0, min_open=True), help="Default: ab_testing.max_duration_days.")
@click.option("--no-database", is_flag=True, help="Only what is given counts.")
@click.option("--picture", type=click.Path(path_type=Path), help="Writes power curves: FILE.svg or FILE.png.")
@as_json
def experiments_plan(
    recipe: Path,
    users_per_day: float | None,
    returning: float | None,
    requests: float | None,
    requests_spread: float | None,
    votes: float | None,
    baselines: tuple[tuple[str, float], ...],
    harms: tuple[tuple[str, float], ...],
    days: int,
    max_days: float | None,
    no_database: bool,
    picture: Path | None,
    json_: bool,
) -> None:
    """Say how many days the canary of RECIPE takes with this traffic, and what it finds. A design that cannot decide
    is refused, with what would.

    Traffic is read from the database where there is some; what is given as an option goes before that.
    """
    from flytewheel.errors import ExperimentError
    from flytewheel.experiment.planning.desk import Given, make_plan
    from flytewheel.experiment.planning.picture import draw_plan, write_picture
    from flytewheel.recipe import load_recipe

    found = load_recipe(recipe)
    database_url = None if no_database else open_services(with_router=False).database_url
    plan = make_plan(
        found.ab_testing,
        found.name,
        given=Given(users_per_day, returning, requests, requests_spread, votes, dict(baselines)),
        database_url=database_url,
        days=days,
        max_days=max_days,
        harms=dict(harms),
    )
    if picture is not None:
        write_picture(draw_plan(found.ab_testing, plan, name=found.name, harms=dict(harms)), picture)
    say(plan, json_, lambda: _print_plan(plan))
    if not plan.decides:
        raise ExperimentError("; ".join(plan.limits))


def _print_plan(plan: Plan) -> None:
    from flytewheel.experiment.planning.words import describe_plan, describe_traffic

    click.echo(describe_traffic(plan.traffic))
    for line in describe_plan(plan):
        click.echo(line)
