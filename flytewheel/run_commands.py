"""The commands `flytewheel runs …`: turns of the loop, one by one and side by side."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from flytewheel.terminal import as_json, open_services, print_table, say

if TYPE_CHECKING:
    from flytewheel.runs import RunRecord

WANDB_HELP = "Read the offline wandb runs under this folder; without it, those of HOME/runs when PostgreSQL is away."
LEAST, MOST, USUAL = 2, 6, 4  # columns: two make a comparison, more than six no line can be told from another


@click.group()
def runs() -> None:
    """Turns of the loop."""


@runs.command("list")
@click.option("--limit", type=click.IntRange(min=1), default=20, show_default=True)
@click.option("--wandb", "tracked", type=click.Path(path_type=Path), help=WANDB_HELP)
@as_json
def runs_list(limit: int, tracked: Path | None, json_: bool) -> None:
    """List the newest runs."""
    from flytewheel.runs import list_runs

    def offline(folder: Path) -> list[RunRecord]:
        return [replace(run, reports={}) for run in list(_read_offline(folder).values())[:limit]]

    found: list[Any] = _read_either(lambda url: list_runs(url, limit=limit), offline, tracked)
    rows = [
        (run.run_id, run.status, run.station or "", f"{run.started_at:%Y-%m-%d %H:%M}", _find_error(run) or "")
        for run in found
    ]
    say(found, json_, lambda: print_table(("run", "status", "station", "started", "error"), rows))


@runs.command("show")
@click.argument("run_id")
@as_json
def runs_show(run_id: str, json_: bool) -> None:
    """Show the table that a run ended with."""
    from flytewheel.runs import read_reports, read_run
    from flytewheel.summary import summarise

    services = open_services()
    if json_:
        read_run(services.database_url, run_id)  # an unknown one has no reports either
        say(read_reports(services.database_url, run_id), True, lambda: None)
    else:
        summarise(services, run_id).print()


@runs.command("compare")
@click.argument("run_ids", nargs=-1, metavar="[RUN_ID]...")
@click.option(
    "--last", type=click.IntRange(LEAST, MOST), help=f"So many of the newest finished runs.  [default: {USUAL}]"
)
@click.option("--out", type=click.Path(path_type=Path), help="Folder of the page.  [default: HOME/comparison]")
@click.option(
    "--wandb",
    "tracked",
    type=click.Path(path_type=Path),
    help=WANDB_HELP,
)
@as_json
def runs_compare(
    run_ids: tuple[str, ...], last: int | None, out: Path | None, tracked: Path | None, json_: bool
) -> None:
    """Compare runs side by side: a table, and their curves in compare.html, compare.svg and compare.png.

    Without RUN_ID the newest finished runs of the newest recipe's name, the oldest of them first. Differences are
    against the first run.
    """
    from flytewheel.comparison import compare
    from flytewheel.comparison_page import print_comparison, write_comparison
    from flytewheel.settings import read_settings

    if run_ids and last is not None:
        raise click.UsageError("expected RUN_IDs or --last, came both: leave one out")
    run_ids = tuple(dict.fromkeys(run_ids))
    if run_ids and not LEAST <= len(run_ids) <= MOST:
        raise click.UsageError(f"expected {LEAST} to {MOST} different RUN_IDs, came {len(run_ids)}")
    found = compare(_read(run_ids, last or USUAL, tracked))
    files = write_comparison(found, out or read_settings().home / "comparison")

    def text() -> None:
        print_comparison(found)
        for file in files:
            click.echo(file)

    say({**found.to_json(), "files": files}, json_, text)


def _read(run_ids: Sequence[str], last: int, tracked: Path | None) -> list[RunRecord]:
    """The runs to compare."""
    from flytewheel.comparison import choose
    from flytewheel.runs import index_runs, read_records

    def stored(url: str) -> list[RunRecord]:
        return read_records(url, choose(index_runs(url), run_ids, last, where="this database"))

    def offline(folder: Path) -> list[RunRecord]:
        found = _read_offline(folder)
        index = [(run.run_id, run.name, run.status) for run in found.values()]
        return [found[run_id] for run_id in choose(index, run_ids, last, where=str(folder))]

    return _read_either(stored, offline, tracked)


def _read_either(
    stored: Callable[[str], list[Any]], offline: Callable[[Path], list[Any]], tracked: Path | None
) -> list[Any]:
    """What `stored` finds in PostgreSQL, or `offline` under `tracked`; under HOME/runs where PostgreSQL is away."""
    from flytewheel.database import migrate
    from flytewheel.errors import DatabaseError, StackError
    from flytewheel.settings import read_settings

    if tracked is not None:
        return offline(tracked)
    settings = read_settings()
    try:
        # A database of one's own is enough: nothing is asked of the other services.
        database_url = settings.database_url or open_services(with_router=False).database_url
        migrate(database_url)
        return stored(database_url)
    except (DatabaseError, StackError) as error:
        folder = settings.home / "runs"
        if not any(folder.glob("*/wandb")):
            raise
        click.echo(f"{error}\nreading the offline wandb runs under {folder} instead", err=True)
        return offline(folder)


def _read_offline(folder: Path) -> dict[str, RunRecord]:
    from flytewheel.offline_runs import read_offline_runs
    from flytewheel.progress import Progress

    def announce(line: str) -> None:
        click.echo(line, err=True)

    with Progress() as progress:
        return {run.run_id: run for run in read_offline_runs(folder, announce=announce, progress=progress)}


def _find_error(run: Any) -> str | None:
    """Why a run failed: PostgreSQL knows it, wandb does not."""
    return getattr(run, "error", None)
