"""The commands `flytewheel experiments …`: which there are, what has come of one, and one as it goes on."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

import click

from flytewheel.terminal import as_json, open_services, print_table, say

if TYPE_CHECKING:
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
