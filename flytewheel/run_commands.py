"""The commands `flytewheel runs …`: turns of the loop, one by one and side by side."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from flytewheel.terminal import as_json, open_services, print_table, say

if TYPE_CHECKING:
    from flytewheel.runs import RunRecord

LEAST, MOST, USUAL = 2, 6, 4  # columns: two make a comparison, more than six no line can be told from another


@click.group()
def runs() -> None:
    """Turns of the loop."""


@runs.command("list")
@click.option("--limit", type=click.IntRange(min=1), default=20, show_default=True)
@as_json
def runs_list(limit: int, json_: bool) -> None:
    """List the newest runs."""
    from flytewheel.runs import list_runs

    found = list_runs(open_services().database_url, limit=limit)
    rows = [
        (run.run_id, run.status, run.station or "", f"{run.started_at:%Y-%m-%d %H:%M}", run.error or "")
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
    help="Read the offline wandb runs under this folder; without it, those of HOME/runs when PostgreSQL is away.",
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
    """The runs to compare: from PostgreSQL, or offline wandb runs where these are asked for or all there is."""
    from flytewheel.comparison import choose
    from flytewheel.database import migrate
    from flytewheel.errors import DatabaseError, StackError
    from flytewheel.offline_runs import read_offline_runs
    from flytewheel.runs import index_runs, read_records
    from flytewheel.settings import read_settings

    folder = tracked
    if folder is None:
        settings = read_settings()
        try:
            # A database of one's own is enough: nothing is asked of the other services.
            database_url = settings.database_url or open_services(with_router=False).database_url
            migrate(database_url)
            chosen = choose(index_runs(database_url), run_ids, last, where="this database")
            return read_records(database_url, chosen)
        except (DatabaseError, StackError) as error:
            folder = settings.home / "runs"
            if not any(folder.glob("*/wandb")):
                raise
            click.echo(f"{error}\nreading the offline wandb runs under {folder} instead", err=True)
    found = {run.run_id: run for run in read_offline_runs(folder, announce=lambda line: click.echo(line, err=True))}
    index = [(run.run_id, run.name, run.status) for run in found.values()]
    return [found[run_id] for run_id in choose(index, run_ids, last, where=str(folder))]
