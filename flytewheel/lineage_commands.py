"""The commands `flytewheel lineage …`: from a model down to what people said, and from what was said to every model."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from flytewheel.terminal import as_json, open_services, print_table, say

if TYPE_CHECKING:
    from flytewheel.database import Connection
    from flytewheel.lineage.index import Refreshed
    from flytewheel.lineage.walk import DatasetLineage, Origin, Rows, Touch, VersionLineage
    from flytewheel.local.services import Services
    from registry.store import ObjectStore

SHORT = 12
_SAID = {
    "trained": "trained on it",
    "replayed": "trained on it by replay",
    "validated": "chose its checkpoint by it",
    "reward": "its reward model learnt from it",
    "inherited": "goes on from a version that learnt from it",
    "judged": "was only judged by it",
    "apart": "kept it apart",
}


@dataclass(frozen=True)
class _Place:
    services: Services
    store: ObjectStore
    connection: Connection
    index: Refreshed


@contextmanager
def _open_index() -> Iterator[_Place]:
    """The services and the index, brought up to date."""
    from flytewheel.database import connect, migrate
    from flytewheel.lineage.index import refresh_index
    from flytewheel.progress import Progress
    from flytewheel.turn import open_store

    services = open_services(with_router=False)
    migrate(services.database_url)
    store = open_store(services)
    with Progress() as progress:
        index = refresh_index(services.database_url, store, progress=progress)
    with connect(services.database_url) as connection:
        yield _Place(services, store, connection, index)


@click.group()
def lineage() -> None:
    """What a model learnt from, and which models somebody's words are in."""


@lineage.command("event")
@click.argument("event_id", metavar="ID")
@as_json
def lineage_event(event_id: str, json_: bool) -> None:
    """List every model that a feedback event (or an interaction with all its events) touched, and how."""
    from flytewheel.lineage.walk import find_event

    with _open_index() as place:
        _say_touched(place, find_event(place.connection, event_id), json_)


@lineage.command("user")
@click.argument("user")
@as_json
def lineage_user(user: str, json_: bool) -> None:
    """List every model that anything of a user touched, and how."""
    from flytewheel.lineage.walk import find_user

    with _open_index() as place:
        _say_touched(place, find_user(place.connection, user), json_)


def _say_touched(place: _Place, origin: Origin, json_: bool) -> None:
    from flytewheel.lineage.walk import list_rows, list_versions, trace
    from registry.taints import list_taints

    rows = list_rows(place.connection, origin)
    touched = trace(list_versions(place.connection), place.index.stones, rows)
    taints = list_taints(place.store)
    told = {
        "interactions": len(origin.interactions),
        "events": len(origin.events),
        "rows": rows,
        "versions": [_describe_touch(one, (one.name, one.version) in taints) for one in touched],
    }

    def text() -> None:
        click.echo(f"{len(origin.interactions):,} interactions, {len(origin.events):,} feedback events")
        _print_rows(rows)
        click.echo()
        heads = ("model", "version", "how", "data set", "rows", "through", "")
        print_table(heads, [_show_touch(one, (one.name, one.version) in taints) for one in touched])
        if not touched:
            click.echo("no version was touched")

    say(told, json_, text)


def _describe_touch(touch: Touch, tainted: bool) -> dict[str, Any]:
    from flytewheel.records import to_jsonable

    return {**to_jsonable(touch), "learnt": touch.learnt, "tainted": tainted}


def _show_touch(touch: Touch, tainted: bool) -> tuple[Any, ...]:
    how = "; ".join(_SAID[each] for each in touch.how)
    digest = touch.standing[:SHORT] + (f" (was {touch.dataset[:SHORT]})" if touch.standing != touch.dataset else "")
    mark = "tainted" if tainted else ""
    return touch.name, touch.version, how, digest, f"{touch.rows:,}", touch.through, mark


def _print_rows(rows: list[Rows] | tuple[Rows, ...]) -> None:
    heads = ("data set", "kind", "part", "from", "rows", "what for")
    print_table(
        heads,
        [(row.dataset[:SHORT], row.kind, row.part, row.source, f"{row.count:,}", row.how) for row in rows],
    )


@lineage.command("version")
@click.argument("name")
@click.argument("version")
@click.option("--events", is_flag=True, help="Also the id of every feedback event.")
@as_json
def lineage_version(name: str, version: str, events: bool, json_: bool) -> None:
    """Walk from a version (or alias) to its data set, its rows and the events these come from."""
    from flytewheel.lineage.walk import describe_version
    from registry.versions import Registry

    with _open_index() as place:
        version = Registry(place.store).show(name, version).version
        found = describe_version(place.connection, place.index.stones, name, version, events=events)
        say(found, json_, lambda: _print_version(found))


def _print_version(found: VersionLineage | None) -> None:
    while found is not None:
        facts = found.facts
        run = f", run {facts.run_id}" if facts.run_id else ""
        click.echo(f"{facts.name} {facts.version}{run}")
        if found.dataset is None:
            click.echo("learnt from no data set")
        else:
            _print_dataset(found.dataset)
        if facts.started_from:
            click.echo(f"\ngoes on from the adapter of {facts.started_from}:")
        found = found.parent


@lineage.command("dataset")
@click.argument("digest")
@click.option("--events", is_flag=True, help="Also the id of every feedback event.")
@as_json
def lineage_dataset(digest: str, events: bool, json_: bool) -> None:
    """Walk from a data set (or the beginning of its digest) to its events, and to the versions made of it."""
    from flytewheel.lineage.walk import describe_dataset
    from flytewheel.shelf import find_digest

    with _open_index() as place:
        erased = [name for name in place.index.stones if name.startswith(digest)]
        name = erased[0] if len(erased) == 1 else find_digest(digest, place.services.home, place.store)
        found = describe_dataset(place.connection, place.index.stones, name, events=events)
        say(found, json_, lambda: _print_dataset(found))


def _print_dataset(found: DatasetLineage) -> None:
    click.echo(str(found.tombstone) if found.tombstone else f"data set {found.dataset}")
    click.echo(f"from {found.users:,} users, {found.interactions:,} interactions, {found.events:,} feedback events")
    _print_rows(found.rows)
    click.echo(f"versions made of it: {', '.join(found.versions) or 'none'}")
    for event in found.event_ids:
        click.echo(event)


@lineage.command("index")
@as_json
def lineage_index(json_: bool) -> None:
    """Make the index of data sets and versions anew from the store."""
    from flytewheel.database import migrate
    from flytewheel.lineage.index import rebuild
    from flytewheel.progress import Progress
    from flytewheel.turn import open_store

    services = open_services(with_router=False)
    migrate(services.database_url)
    with Progress() as progress:
        made = rebuild(services.database_url, open_store(services), progress=progress)
    text = f"{made.rows:,} rows of {made.datasets:,} data sets and {made.versions:,} versions are in the index"
    say(made, json_, lambda: click.echo(text))
