"""The commands `flytewheel triggers …`: what makes a turn due, what the looks found, and asking for one."""

from __future__ import annotations

import getpass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from flytewheel.terminal import as_json, open_services, print_table, say

if TYPE_CHECKING:
    from collections.abc import Mapping

    from flytewheel.local.services import Services
    from flytewheel.recipe import Recipe

html_option = click.option(
    "--html", type=click.Path(path_type=Path), help="Write the look as a page to this file, too."
)


@click.group()
def triggers() -> None:
    """What makes a turn of the loop due."""


@triggers.command("look")
@click.argument("path", metavar="RECIPE", type=click.Path(path_type=Path))
@click.option("--launch", is_flag=True, help="Run the turn here and now where one is due or was asked for.")
@html_option
@as_json
def triggers_look(path: Path, launch: bool, html: Path | None, json_: bool) -> None:
    """Look at the triggers of RECIPE once, as the hourly workflow does on Flyte; without --launch nothing is kept."""
    from datetime import UTC, datetime

    from flytewheel.drift.looks import look
    from flytewheel.drift.triggers import check_triggers
    from flytewheel.recipe import load_recipe
    from flytewheel.records import to_jsonable

    recipe = load_recipe(path)
    services = open_services()
    now = datetime.now(UTC)
    if launch:
        turns: list[Recipe] = []

        def note(wanted: Recipe, execution: str | None) -> str:
            turns.append(wanted)
            return execution or "local"

        found = look(services.database_url, recipe, now=now, launch=note)
        report = to_jsonable(found.report) | {"said": found.said}
    else:
        turns = []
        report = to_jsonable(check_triggers(services.database_url, recipe, now=now))
        report |= {"said": f"{'due' if report['due'] else 'not due'}: {report['new_interactions']:,} new interactions"}
    _write(html, report)
    say(report, json_, lambda: _print(report))
    if turns:
        _run(path, turns[0], services)


@triggers.command("show")
@click.argument("name")
@click.option("--limit", type=click.IntRange(min=1), default=24, show_default=True, help="Looks to list.")
@html_option
@as_json
def triggers_show(name: str, limit: int, html: Path | None, json_: bool) -> None:
    """Show the last look at model NAME with every figure, and list those before it."""
    from flytewheel.drift.requests import list_looks
    from flytewheel.errors import RequestError

    found = list_looks(open_services(with_router=False).database_url, name, limit=limit)
    if not found:
        raise RequestError(
            f"nobody has looked at the triggers of {name!r} yet: flytewheel triggers look RECIPE --launch"
        )
    _write(html, found[0].report)

    def text() -> None:
        _print(found[0].report)
        click.echo()
        rows = [(f"{each.at:%Y-%m-%d %H:%M}", each.execution, each.report.get("said")) for each in found]
        print_table(("at", "launched", "what"), rows)

    say({"looks": found}, json_, text)


@triggers.command("ask")
@click.argument("name")
@click.option("--reason", required=True, help="Why, for the log.")
@click.option("--incremental/--full", default=False, help="A small turn, or a full one.  [default: full]")
@click.option("--force/--if-due", default=True, help="Also where no trigger says that one is due.  [default: force]")
@as_json
def triggers_ask(name: str, reason: str, incremental: bool, force: bool, json_: bool) -> None:
    """Ask for a turn of model NAME: the next look launches it, or a turn that somebody starts before answers it."""
    found = ask(open_services(with_router=False), name, reason, "incremental" if incremental else "full", force=force)

    def text() -> None:
        click.echo(f"{found.request_id}: a {found.mode} turn of {name} is asked for; the next look launches it")

    say({"request": found}, json_, text)


def ask(services: Services, name: str, reason: str, mode: Any, *, force: bool = True) -> Any:
    """Keeps that somebody at this terminal wants a turn, and why."""
    import uuid

    from flytewheel.drift.requests import ask_turn
    from flytewheel.errors import RequestError

    if not reason.strip() or "\0" in reason or len(reason) > 500:
        raise RequestError(f"--reason: expected 1 to 500 characters that say why, came {len(reason)}")
    asked, _ = ask_turn(
        services.database_url,
        request_id=uuid.uuid4().hex,
        name=name,
        mode=mode,
        force=force,
        reason=reason.strip(),
        asked_by=getpass.getuser(),
    )
    return asked


def _run(path: Path, wanted: Recipe, services: Services) -> None:
    from flytewheel.local.pyflyte import run_weekly
    from flytewheel.settings import read_settings

    code = run_weekly(path, services, instead=wanted, debug=read_settings().debug)
    if code:
        raise click.exceptions.Exit(code)


def _write(html: Path | None, report: Mapping[str, Any]) -> None:
    from flytewheel import figures
    from flytewheel.drift.page import describe_look

    if html is not None:
        html.write_text(figures.document("triggers", describe_look(report)), encoding="utf-8")


def _print(report: Mapping[str, Any]) -> None:
    from flytewheel.drift.page import HEAD, tabulate

    click.echo(report.get("said", ""))
    for title, lines in (("due", report.get("reasons")), ("quiet", report.get("quiet"))):
        for line in lines or ():
            click.echo(f"  {title}: {line}")
    rows = tabulate(report)
    if rows:
        print_table(HEAD, rows)
