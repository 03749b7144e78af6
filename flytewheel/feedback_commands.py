"""The commands `flytewheel feedback`: import, export, count, audit, simulate, and what is in quarantine.

Whatever people wrote is shown redacted only.
"""

from __future__ import annotations

import getpass
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from flytewheel.erase_commands import erase, erasures
from flytewheel.terminal import as_json, open_services, print_table, say

if TYPE_CHECKING:
    from flytewheel.feedback.audit import Audit, SeriesAudit
    from flytewheel.feedback.expiry import Expiry
    from flytewheel.feedback.quarantine import Held

sources_option = click.option(
    "--source", "sources", multiple=True, help="Only this stream; may be given more than once."
)
_SHOWN_TEXT = 60
_SHOWN_USER = 12


@click.group()
def feedback() -> None:
    """People's reactions: import, export, count, simulate."""


@feedback.command("import")
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "--format",
    "format_",
    type=click.Choice(["flytewheel", "chat", "langfuse", "preference"]),
    default="flytewheel",
    show_default=True,
    help="What FILES are: our own two logs, or one log of others.",
)
@click.option(
    "--source",
    default="default",
    show_default=True,
    help="Stream that these belong to (a recipe's `feedback.sources`).",
)
@click.option("--user-field", help="Others' logs: the field of a row that says who its user is.")
@click.option(
    "--time", help="Others' logs: when rows that tell no time were written, as ISO 8601.  [default: 2000-01-01]"
)
@as_json
def feedback_import(
    files: tuple[Path, ...], format_: str, source: str, user_field: str | None, time: str | None, json_: bool
) -> None:
    """Store FILES: the logs INTERACTIONS and EVENTS (.jsonl or .jsonl.gz), or others' with --format.

    Bad lines are quarantined, known ones skipped. chat: OpenAI-style conversations with ratings. langfuse: traces,
    observations and scores, in one file or several. preference: prompt, chosen, rejected. These may be .jsonl, .json,
    .csv (each also .gz), .parquet, or a folder that `datasets` saved.
    """
    if format_ == "flytewheel":
        _import_logs(files, source, json_, foreign=user_field is not None or time is not None)
    else:
        _import_foreign(files, format_, source, user_field, time, json_)


def _import_logs(files: tuple[Path, ...], source: str, json_: bool, *, foreign: bool) -> None:
    from flytewheel.feedback.logs import check_log
    from flytewheel.feedback.store import FeedbackStore
    from flytewheel.progress import Progress

    if len(files) != 2:
        raise click.UsageError(
            f"expected two files, INTERACTIONS and EVENTS, got {len(files)}; others' logs need --format"
        )
    if foreign:
        raise click.UsageError(
            "--user-field and --time are for others' logs: give --format chat, langfuse or preference"
        )
    for log in files:
        check_log(log)  # before any service is started
    services = open_services()
    with Progress() as progress:
        report = FeedbackStore(services.database_url).import_files(
            files[0],
            files[1],
            source=source,
            quarantine_dir=services.home / "quarantine",
            erasure_key=services.erasure_key,
            progress=progress,
        )
    say(report, json_, lambda: _say_import(report.describe(), source))


def _import_foreign(
    files: tuple[Path, ...], format_: str, source: str, user_field: str | None, time: str | None, json_: bool
) -> None:
    from flytewheel.feedback.formats import FORMATS, import_foreign, parse_epoch
    from flytewheel.feedback.formats.rows import list_files
    from flytewheel.feedback.store import FeedbackStore
    from flytewheel.progress import Progress
    from flytewheel.records import to_jsonable

    epoch = parse_epoch(time)
    for file in files:
        list_files(file)  # before any service is started
    services = open_services()
    with Progress() as progress:
        report = import_foreign(
            FeedbackStore(services.database_url),
            next(known for known in FORMATS if known == format_),
            files,
            source=source,
            quarantine_dir=services.home / "quarantine",
            user_field=user_field,
            epoch=epoch,
            erasure_key=services.erasure_key,
            progress=progress,
        )
    value = {**to_jsonable(report.imported), "recognised": to_jsonable(report.recognised)}
    say(value, json_, lambda: _say_import(report.describe(), source))


def _say_import(told: str, source: str) -> None:
    click.echo(told)
    click.echo(f"next: a recipe learns from it with feedback.sources: [{source}]")


@feedback.command("export")
@click.argument("folder", type=click.Path(path_type=Path))
@sources_option
@as_json
def feedback_export(folder: Path, sources: tuple[str, ...], json_: bool) -> None:
    """Write everything stored to FOLDER as two logs that `feedback import` reads."""
    from flytewheel.feedback.store import FeedbackStore

    counts = FeedbackStore(open_services().database_url).export(folder, sources=sources)
    say(counts, json_, lambda: click.echo(f"{folder}: {counts}"))


@feedback.command("stats")
@sources_option
@as_json
def feedback_stats(sources: tuple[str, ...], json_: bool) -> None:
    """Count what is stored: types, rewards, days, quarantine."""
    from flytewheel.feedback.store import FeedbackStore

    stats = FeedbackStore(open_services().database_url).stats(sources=sources)
    say(stats, json_, lambda: click.echo(stats.describe()))


@feedback.command("simulate")
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--users", type=click.IntRange(min=4), default=340, show_default=True)
@click.option("--interactions", type=click.IntRange(min=1), default=1700, show_default=True)
@click.option("--seed", default=7, show_default=True)
@as_json
def feedback_simulate(folder: Path, users: int, interactions: int, seed: int, json_: bool) -> None:
    """Make the logs of a simulated week of on-call engineers in FOLDER."""
    from flytewheel.feedback.simulate import simulate

    report = simulate(folder, users=users, interactions=interactions, seed=seed)
    say(report, json_, lambda: click.echo(f"{folder}: {report}"))


@feedback.command("permute")
@click.argument("interactions", type=click.Path(path_type=Path))
@click.argument("events", type=click.Path(path_type=Path))
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--seed", default=1, show_default=True)
def feedback_permute(interactions: Path, events: Path, folder: Path, seed: int) -> None:
    """Deal the reactions out anew among the answers: the control log, on which no turn may promote."""
    from flytewheel.feedback.permute import permute_labels

    moved, swapped = permute_labels(interactions, events, folder, seed=seed)
    click.echo(f"{folder}: {moved:,} events moved, {swapped:,} corrections changed places with their answer")


@feedback.command("audit")
@as_json
def feedback_audit(json_: bool) -> None:
    """Prove that nothing is lost and nothing counted twice; exit 1 with every mismatch."""
    from flytewheel.feedback.audit import audit
    from flytewheel.records import to_jsonable

    audited = audit(open_services().database_url)
    say({**to_jsonable(audited), "holds": audited.holds}, json_, lambda: _print_audit(audited))
    sys.exit(0 if audited.holds else 1)


def _print_audit(audited: Audit) -> None:
    heads = ("source", "interactions", "events", "imports", "lines read", "stored", "known", "quarantined")
    print_table(
        heads,
        [
            (
                each.source,
                *_figures(each.interactions, each.events, each.imports),
                *_figures(each.read, each.stored, each.duplicates, each.quarantined),
            )
            for each in audited.sources
        ],
    )
    for series in audited.series:
        click.echo()
        _print_series(series)
    click.echo()
    for line in audited.mismatches:
        click.echo(f"mismatch: {line}")
    click.echo("audit: holds" if audited.holds else f"audit: {len(audited.mismatches)} mismatches")


def _print_series(series: SeriesAudit) -> None:
    rows: list[tuple[Any, ...]] = [
        (
            f"window {each.window.number}",
            *_figures(each.window.interactions, each.window.events, each.held, each.released),
            "holds" if each.holds else "differs",
        )
        for each in series.windows
    ]
    rows.append(("waiting", *_figures(*series.waiting), "", f"{series.waiting_releases:,} to enter", ""))
    rows.append(("accepted", *_figures(*series.accepted), "", "", ""))
    print_table((series.series, "interactions", "events", "held votes", "released", ""), rows)


def _figures(*counts: int) -> tuple[str, ...]:
    return tuple(f"{count:,}" for count in counts)


@feedback.command("expire")
@click.option("--days", type=float, help="Keep so many days.  [default: FLYTEWHEEL_RETENTION_DAYS]")
@click.option("--dry-run", is_flag=True, help="Only count what would go.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@as_json
def feedback_expire(days: float | None, dry_run: bool, yes: bool, json_: bool) -> None:
    """Delete interactions older than --days, with their events; what a window or a test still needs stays.

    Data sets keep their copies. A router with FLYTEWHEEL_RETENTION_DAYS does the same once a day.
    """
    from flytewheel.database import migrate
    from flytewheel.feedback.expiry import expire, plan_expiry
    from flytewheel.progress import Progress
    from flytewheel.records import to_jsonable
    from flytewheel.settings import read_settings

    if days is None and (days := read_settings().retention_days) is None:
        raise click.UsageError("give --days N, or set FLYTEWHEEL_RETENTION_DAYS")
    url, now = open_services(with_router=False).database_url, datetime.now(UTC)
    migrate(url)
    plan = plan_expiry(url, days, now)
    if dry_run:
        say({**to_jsonable(plan), "dry_run": True}, json_, lambda: click.echo(f"would go: {_describe_expiry(plan)}"))
        return
    if not yes and (plan.interactions or plan.quarantined):
        click.echo(_describe_expiry(plan), err=True)
        click.confirm("delete all of this? It cannot be undone", abort=True, err=True)
    with Progress() as progress:
        done = expire(url, days, now, by=getpass.getuser(), progress=progress)
    say({**to_jsonable(done), "dry_run": False}, json_, lambda: click.echo(f"gone: {_describe_expiry(done)}"))


def _describe_expiry(done: Expiry) -> str:
    held = ", ".join(f"{reason} {count:,}" for reason, count in done.held.items())
    said = (
        f"{done.interactions:,} interactions with {done.events:,} events and {done.quarantined:,} lines in quarantine"
    )
    return f"{said}, older than {done.cutoff:%Y-%m-%d %H:%M}; still needed: {held or 'none'}"


@feedback.group("quarantine")
def quarantine() -> None:
    """Lines that could not be stored, and votes that curation does not believe."""


@quarantine.command("list")
@click.option("--reason", help="Only what is held for this reason.")
@click.option("--limit", type=click.IntRange(min=1), default=50, show_default=True)
@as_json
def quarantine_list(reason: str | None, limit: int, json_: bool) -> None:
    """List what is in quarantine, the newest first, with what was said redacted."""
    from flytewheel.feedback.quarantine import list_held

    shown = [_redact(each) for each in list_held(open_services().database_url, reason=reason, limit=limit)]
    heads = ("kind", "reason", "rule", "at", "user", "where", "released", "id", "text")

    def text() -> None:
        print_table(heads, [tuple(each[head] for head in heads) for each in shown])

    say(shown, json_, text)


def _redact(held: Held) -> dict[str, str]:
    from flytewheel.pii import redact

    user, said = redact(held.user or ""), " ".join(redact(held.text).split())
    return {
        "kind": held.kind,
        "reason": held.reason,
        "rule": held.rule,
        "at": f"{held.at:%Y-%m-%d %H:%M}",
        "user": _shorten(user, _SHOWN_USER),
        "where": held.stream,
        "released": f"{held.released_at:%Y-%m-%d %H:%M}" if held.released_at else "",
        "id": held.id,
        "text": _shorten(said, _SHOWN_TEXT),
    }


def _shorten(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"


@quarantine.command("release")
@click.argument("ids", nargs=-1, metavar="[ID]...")
@click.option("--reason", help="Every vote that is held for this reason.")
@click.option("--user", help="Every held vote of this user.")
@click.option("--all", "all_", is_flag=True, help="Every held vote.")
@as_json
def quarantine_release(ids: tuple[str, ...], reason: str | None, user: str | None, all_: bool, json_: bool) -> None:
    """Let held votes out: they enter the next window, and the abuse screen lets them pass."""
    from flytewheel.feedback.quarantine import release_votes

    if not (ids or reason or user or all_):
        raise click.UsageError("name votes by ID, --reason, --user or --all")
    found = release_votes(open_services().database_url, ids=ids, reason=reason, user=user, all_=all_)

    def text() -> None:
        known = f"; {found.already:,} had been released before" if found.already else ""
        then = ": they enter the next window" if found.released else ""
        click.echo(f"{found.released:,} votes released{then}{known}")

    say(found, json_, text)


feedback.add_command(erase)
feedback.add_command(erasures)
