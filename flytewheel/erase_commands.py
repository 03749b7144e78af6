"""The commands `flytewheel feedback erase` and `erasures`: forgets a user, and what was forgotten so far."""

from __future__ import annotations

import getpass
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from flytewheel.terminal import as_json, open_services, print_table, say

if TYPE_CHECKING:
    from flytewheel.erase.erasure import Erased
    from flytewheel.erase.plan import Plan

OUTSIDE = (
    "outside of our reach: folders written by `feedback export`, `datasets export` or `models download`, runs synced "
    "to wandb, outputs of bare `pyflyte run` under $TMPDIR/flyte-*, a Flyte cluster's own storage, backups not made by "
    "`flytewheel backup` from this home"
)


@click.command("erase")
@click.argument("user")
@click.option("--dry-run", is_flag=True, help="Only count what would go, by place.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--by", help="Who does it, for the record.  [default: the account of this command]")
@click.option(
    "--serve-days",
    type=click.FloatRange(min=0),
    help="Days for which versions that learnt from the user may still serve.  "
    "[default: their recipes' privacy.erased_serve_days]",
)
@as_json
def erase(user: str, dry_run: bool, yes: bool, by: str | None, serve_days: float | None, json_: bool) -> None:
    """Forget USER: their feedback, rows of data sets, quotes in reports, caches and logs.

    Versions that learnt from it are tainted, and a training from the base is due. An erasure that was killed goes on
    when it is asked for again. What the same person says afterwards is new and counts.
    """
    from flytewheel.backup.ledger import tell_backups
    from flytewheel.database import migrate
    from flytewheel.erase.erasure import Place, erase_user
    from flytewheel.erase.plan import find_everything, make_plan
    from flytewheel.erase.record import find_erasures
    from flytewheel.forgotten import make_key
    from flytewheel.progress import Progress
    from flytewheel.settings import read_settings
    from flytewheel.turn import open_store

    services = open_services(with_router=False)
    migrate(services.database_url)
    store, key = open_store(services), services.erasure_key or make_key(services.home)
    known = find_erasures(services.database_url, key, user)
    begun = any(one.ended_at is None for one in known)
    with Progress() as progress:
        found = find_everything(services.database_url, store, user, progress)
        plan = make_plan(services.database_url, store, services.home, found, progress, services.assignment_key)
    before = [one.erasure_id for one in known if one.ended_at is not None]
    if dry_run or (plan.empty and not begun):
        say(_describe_plan(plan, before), json_, lambda: _print_plan(plan, before))
        return
    if not yes:
        _print_plan(plan, before, err=json_)
        click.confirm("erase all of this? It cannot be undone", abort=True, err=json_)
    with Progress() as progress:
        place = Place(
            services.database_url,
            store,
            services.home,
            key,
            embedded=read_settings().database_url is None,
            clock=lambda: datetime.now(UTC),
            progress=progress,
            assignment_key=services.assignment_key,
        )
        done = erase_user(place, user, by=by or getpass.getuser(), serve_days=serve_days, found=found)
    told, missed = tell_backups(services.home, services.database_url)
    notes = [f"backup {folder} knows: a restore of it erases again" for folder in told]
    notes += [f"backup {folder} is not there and does not know: restore it beside a newer one" for folder in missed]
    done = replace(done, notes=(*done.notes, *notes))
    say(_describe_erased(done), json_, lambda: _print_erased(done))


@click.command("erasures")
@as_json
def erasures(json_: bool) -> None:
    """List erasures: when, by whom, how much. Nothing says of whom."""
    from flytewheel.erase.record import list_erasures

    found = list_erasures(open_services(with_router=False).database_url)
    rows = [
        (
            one.erasure_id,
            f"{one.started_at:%Y-%m-%d %H:%M}",
            f"{one.ended_at:%Y-%m-%d %H:%M}" if one.ended_at else f"not ended ({', '.join(one.steps) or 'begun'})",
            one.by,
            f"{one.report.get('database', {}).get('interactions', 0):,}",
            f"{one.report.get('database', {}).get('feedback_events', 0):,}",
            len(one.report.get("datasets", ())),
            len(one.report.get("versions", ())),
        )
        for one in found
    ]
    heads = ("erasure", "begun", "ended", "by", "interactions", "events", "data sets", "tainted versions")
    say(found, json_, lambda: print_table(heads, rows))


def _describe_plan(plan: Plan, before: list[str]) -> dict[str, Any]:
    from flytewheel.records import to_jsonable

    told = to_jsonable(plan)
    told["versions"] = [{**to_jsonable(each), "learnt": each.learnt} for each in plan.versions]
    return {**told, "empty": plan.empty, "erased_before": before}


def _print_plan(plan: Plan, before: list[str], *, err: bool = False) -> None:
    def echo(line: str) -> None:
        click.echo(line, err=err)

    if before:
        echo(f"erased before: {', '.join(before)}")
    if plan.empty:
        echo("nothing of this user is stored")
        return
    echo(f"{plan.interactions:,} interactions and {plan.events:,} feedback events")
    for what, counts in (("database rows", plan.database), ("files", plan.files)):
        told = ", ".join(f"{place} {count:,}" for place, count in counts.items())
        echo(f"{what}: {told or 'none'}")
    told = ", ".join(f"{digest[:12]} {rows:,} rows" for digest, rows in plan.datasets.items())
    echo(f"data sets to write anew: {told or 'none'}; {plan.quoting:,} others may quote in their cards")
    for touch in plan.versions:
        verb = "would be tainted" if touch.learnt else "stays as it is"
        echo(f"{touch.name} {touch.version}: {verb} ({', '.join(touch.how)})")
    for key in plan.unmendable:
        echo(f"cannot be changed: {key} of the registry quotes the user; remove the versions that hold it")


def _describe_erased(done: Erased) -> dict[str, Any]:
    from flytewheel.records import to_jsonable

    return {**to_jsonable(done.erasure), "notes": [*done.notes, OUTSIDE]}


def _print_erased(done: Erased) -> None:
    erasure, report = done.erasure, done.erasure.report
    click.echo(f"{erasure.erasure_id}: done")
    for what in ("database", "files"):
        told = ", ".join(f"{place} {count:,}" for place, count in report.get(what, {}).items())
        click.echo(f"{what}: {told or 'nothing'}")
    for one in report.get("datasets", ()):
        click.echo(f"data set {one['digest'][:12]} is {one['successor'][:12]} now, without {one['rows']:,} rows")
    names = set()
    for one in report.get("versions", ()):
        until = f", may not serve from {one['deadline'][:16]} on" if one["deadline"] else ""
        click.echo(f"tainted: {one['name']} {one['version']} ({one['reason']}{until})")
        names.add(one["name"])
    for name in sorted(names):
        click.echo(
            f"next: a training of {name} from the base: `flytewheel run RECIPE --full` (the triggers ask for it)"
        )
    for key in report.get("unmendable", ()):
        click.echo(f"cannot be changed: {key} of the registry quotes the user; remove the versions that hold it")
    for note in (*done.notes, OUTSIDE):
        click.echo(note)
