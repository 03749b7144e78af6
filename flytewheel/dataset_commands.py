"""The commands `flytewheel datasets …`: what was curated, what a data set says of itself, what differs between two,
and its rows in the forms that TRL reads.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from flytewheel.terminal import as_json, open_services, print_table, say

if TYPE_CHECKING:
    from flytewheel.dataset import Dataset
    from flytewheel.dataset.difference import Difference
    from flytewheel.shelf import Shelved

SHORT = 12
_FORMS = ("jsonl", "prompt-completion", "prompt-chosen-rejected", "prompt-completion-label")
_PARTS = ("train", "validation", "test", "holdout")


@click.group()
def datasets() -> None:
    """Frozen data sets: list, show, compare, export."""


@datasets.command("list")
@as_json
def datasets_list(json_: bool) -> None:
    """List the data sets in the object store and on this machine, newest first."""
    from flytewheel.shelf import list_shelf
    from flytewheel.turn import open_store

    services = open_services(with_router=False)
    found = list_shelf(services.home, open_store(services))
    facts = [_describe(one) for one in found]

    def text() -> None:
        rows = [
            (
                fact["digest"][:SHORT],
                fact["created"][:16].replace("T", " "),
                fact["series"] or "",
                fact["window"] if fact["window"] is not None else "",
                fact["fault"] or ", ".join(f"{kind} {rows:,}" for kind, rows in fact["rows"].items()),
                f"{fact['size_bytes'] / 1e6:,.1f} MB",
                "store" if fact["stored"] else "here only",
            )
            for fact in facts
        ]
        print_table(("data set", "created", "series", "window", "rows", "size", "where"), rows)

    say(facts, json_, text)


@datasets.command("show")
@click.argument("name", metavar="DIGEST|FOLDER")
@as_json
def datasets_show(name: str, json_: bool) -> None:
    """Show the card of a data set: its funnel, why rows went, and redacted examples."""
    from flytewheel.dataset.card import parse_card, read_card
    from flytewheel.shelf import find_digest, find_folder
    from flytewheel.turn import open_store

    folder = find_folder(name)
    if folder is not None:
        card = read_card(folder)
    else:
        services = open_services(with_router=False)
        store = open_store(services)
        digest = find_digest(name, services.home, store)
        key, local = f"datasets/{digest}/card.json", services.home / "datasets" / digest
        card = read_card(local) if (local / "card.json").is_file() else parse_card(store.get_bytes(key), digest)
    report = card.to_json()
    say(report, json_, lambda: _print_card(report))


@datasets.command("diff")
@click.argument("a")
@click.argument("b")
@as_json
def datasets_diff(a: str, b: str, json_: bool) -> None:
    """Compare data sets A and B (digests or folders): recipe, funnel, rows by id, users' parts, topics."""
    from flytewheel.dataset.difference import compare

    found = compare(_open(a), _open(b))
    say(found, json_, lambda: _print_difference(found))


@datasets.command("export")
@click.argument("name", metavar="DIGEST|FOLDER")
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--form", type=click.Choice(_FORMS), required=True, help="jsonl: the records; the others: TRL's.")
@click.option("--part", "parts", multiple=True, type=click.Choice(_PARTS), help="Default: all but the holdout.")
@click.option("--conversational/--text", default=True, show_default=True, help="Lists of {role, content}, or text.")
@as_json
def datasets_export(
    name: str, folder: Path, form: str, parts: tuple[str, ...], conversational: bool, json_: bool
) -> None:
    """Write the rows of a data set as JSON lines into the new folder FOLDER."""
    from flytewheel.dataset.forms import export_rows, refuse_existing
    from flytewheel.progress import Progress

    refuse_existing(folder)  # before anything is fetched
    dataset = _open(name)
    with Progress() as progress:
        written = export_rows(dataset, folder, form=form, parts=parts, as_text=not conversational, progress=progress)

    def text() -> None:
        print_table(("file", "rows"), [(str(folder / file), f"{rows:,}") for file, rows in written.items()])

    say({"folder": folder, "rows": written}, json_, text)


def _open(name: str) -> Dataset:
    """The data set of that folder, or of that digest, brought here from the store if need be."""
    from flytewheel.dataset import Dataset
    from flytewheel.shelf import find_digest, find_folder
    from flytewheel.turn import fetch_dataset, open_store

    folder = find_folder(name)
    if folder is None:
        services = open_services(with_router=False)
        folder = fetch_dataset(services, find_digest(name, services.home, open_store(services)))
    return Dataset(folder)


def _describe(one: Shelved) -> dict[str, Any]:
    card = one.card
    window = card.window if card else {}
    return {
        "digest": one.digest,
        "created": one.created.isoformat() if one.created else "",
        "series": window.get("series") or (", ".join(card.sources) if card else None),
        "window": window.get("number"),
        "rows": {kind: sum(parts.values()) for kind, parts in card.counts.items()} if card else {},
        "size_bytes": one.size_bytes,
        "stored": one.stored,
        "local": one.local,
        "fault": one.fault,
    }


def _print_card(report: dict[str, Any]) -> None:
    from flytewheel.dataset import readme

    span = " to ".join(report["time_range"] or ())
    facts = [
        ("data set", report["digest"]), ("content", report["content_digest"]),
        ("sources", ", ".join(report["sources"])),
        ("window", " ".join(f"{key} {value}" for key, value in report["window"].items())), ("time", span),
        ("came in", f"{report['interactions']:,} interactions, {report['events']:,} feedback events"),
        ("license", report["license"] or "not said"), ("code", report["code_version"]),
        ("commit", report["git_commit"] or ""),
    ]  # fmt: skip
    print_table(("fact", "value"), [fact for fact in facts if fact[1]])
    bare = report["comments"].get("sentiment") or {}
    sections: list[tuple[tuple[str, ...], list[tuple[Any, ...]]]] = [
        (
            ("kind", *_PARTS),
            [(kind, *(own.get(part, "") for part in _PARTS)) for kind, own in readme.order_counts(report)],
        ),
        (("stage", "rows"), [(stage, f"{rows:,}") for stage, rows in report["funnel"] or readme.stages_of(report)]),
        (("taken away because", "rows"), [(reason, f"{count:,}") for reason, count in readme.list_reasons(report)]),
        (("reason", "example, redacted"), list(readme.list_examples(report))),
        (("personal data", "replaced"), sorted(report["redacted"].items())),
        (("topic", "before", "after"), list(readme.compare_topics(report))),
        (("comments", "count"), sorted(bare.items())),
    ]
    for head, rows in sections:
        if rows:
            click.echo()
            print_table(head, rows)
    if report["pairs"]:
        click.echo(f"\npairs: {readme.describe_length_bias(report['pairs'])}")


def _print_difference(found: Difference) -> None:
    click.echo(f"{found.a[:SHORT]} → {found.b[:SHORT]}: {'the same rows' if found.same_rows else 'rows differ'}")
    sections: list[tuple[tuple[str, ...], list[tuple[Any, ...]]]] = [
        (("recipe", "a", "b"), [(name, *values) for name, values in found.recipe.items()]),
        (("stage", "a", "b", "difference"), [(name, *pair, _minus(*pair)) for name, pair in found.funnel.items()]),
        (
            ("kind", "part", "added", "removed", "changed"),
            [
                (kind, part, *counts.values())
                for kind, parts in found.rows.items()
                for part, counts in parts.items()
                if any(counts.values())
            ],
        ),
        (("topic", "a", "b", "difference"), [(name, *pair, _minus(*pair)) for name, pair in found.topics.items()]),
    ]
    for head, rows in sections:
        if rows:
            click.echo()
            print_table(head, rows)
    moved = sum(found.moved_users.values())
    detail = f": {', '.join(f'{way} {users:,}' for way, users in found.moved_users.items())}" if moved else ""
    click.echo(f"\nusers who moved to another part: {moved:,} (expected 0){detail}")


def _minus(a: int | None, b: int | None) -> str:
    return "" if a is None or b is None else f"{b - a:+,}"
