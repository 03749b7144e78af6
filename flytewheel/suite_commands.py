"""The commands `flytewheel suite …`: the regression suite of a model, by hand."""

from __future__ import annotations

import getpass
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from flytewheel.terminal import as_json, open_services, print_table, say

if TYPE_CHECKING:
    from flytewheel.records import RegressionCase
    from flytewheel.suite.listing import Line

by_option = click.option("--by", default=getpass.getuser, show_default="you", help="Who does it, for the record.")
_SHOWN = 48


@click.group()
def suite() -> None:
    """The cases that a model must pass for ever: list, add, run, mute."""


@suite.command("list")
@click.argument("name")
@click.option("--all", "everything", is_flag=True, help="Retired cases, too.")
@as_json
def suite_list(name: str, everything: bool, json_: bool) -> None:
    """List the cases of model NAME with their origin, what came of them last, and mutes with their ends."""
    from datetime import UTC, datetime

    from flytewheel.suite.listing import list_suite

    lines = list_suite(open_services(with_router=False).database_url, name, datetime.now(UTC))
    shown = [line for line in lines if everything or line.state != "retired"]

    def text() -> None:
        head = ("case", "origin", "check", "expected", "last outcome", "of", "state")
        print_table(head, [_describe(line) for line in shown])
        counted = sum(line.state == "counts" for line in shown)
        click.echo(f"{len(shown):,} cases, {counted:,} of them count")

    say([line.to_json() for line in shown], json_, text)


@suite.command("add")
@click.argument("name")
@click.option("--file", "file", type=click.Path(path_type=Path), help="A JSONL file of cases, instead of the options.")
@click.option("--id", "case_id", help="Of the case.  [default: made from what it says]")
@click.option("--prompt", help="What the user asks.")
@click.option("--system", help="The system turn before it.")
@click.option("--context", help="The passage that the answer is to rest on.")
@click.option(
    "--check", type=click.Choice(["exact", "contains", "regex", "numeric", "similarity", "forbidden"]), help="How."
)
@click.option("--expected", help="What the check compares with.")
@click.option("--samples", type=int, help="Answers that are drawn.  [default: 1, greedy]")
@click.option("--temperature", type=float, help="At which they are drawn.")
@click.option("--min-pass-rate", type=float, help="Share of them that must pass.  [default: 1; of several 0.8]")
@click.option("--tolerance", type=float, help="numeric: largest distance from the expected number.")
@click.option("--threshold", type=float, help="similarity: least chrF, above 0 and at most 1.")
@click.option("--ignore-case", is_flag=True, default=None, help="Small and capital letters are alike.")
@click.option("--topic", help="Of the case.")
@click.option("--note", help="Why it is there.")
@as_json
def suite_add(
    name: str, file: Path | None, prompt: str | None, system: str | None, context: str | None, json_: bool, **given: Any
) -> None:
    """Add cases to the suite of model NAME: one from the options, or those of --file, all or none."""
    from flytewheel.errors import SuiteError
    from flytewheel.suite.cases import read_cases, redact_cases
    from flytewheel.suite.checks import check_case
    from flytewheel.suite.store import add_cases, refuse_conflicts

    fields = {key: value for key, value in given.items() if value is not None}
    if file is not None and (prompt or system or context or fields):
        raise SuiteError("--file brings whole cases: give either the file or the options of one case")
    read = read_cases(file) if file is not None else [_make_case(prompt, system, context, fields)]
    cases = redact_cases(read)
    for case in cases:
        check_case(case)
    database_url = open_services(with_router=False).database_url
    refuse_conflicts(database_url, name, cases)
    added = add_cases(database_url, name, cases)
    changed = [case.id for case, before in zip(cases, read, strict=True) if case != before]
    known = sorted({case.id for case in cases} - set(added))

    def text() -> None:
        click.echo(f"added {', '.join(added) or 'nothing'} to the suite of {name}")
        if changed:
            click.echo(f"personal data was replaced in {', '.join(changed)}")
        if known:
            click.echo(f"left out, as they are there or their words were erased: {', '.join(known)}")

    say({"added": added, "redacted": changed, "left_out": known}, json_, text)


@suite.command("run")
@click.argument("name")
@click.argument("model", metavar="VERSION|challenger|champion|FOLDER")
@click.option("--case", "ids", multiple=True, help="Only this case; may be given more than once.")
@click.option("--samples", type=click.IntRange(2, 100), help="Answers drawn of each case that is sampled.")
@click.option("--temperature", type=click.FloatRange(0.01, 10), help="Draw every case at this temperature.")
@click.option("--recipe", type=click.Path(path_type=Path), help="Base and answers' length; else those of its run.")
@as_json
def suite_run(
    name: str,
    model: str,
    ids: tuple[str, ...],
    samples: int | None,
    temperature: float | None,
    recipe: Path | None,
    json_: bool,
) -> None:
    """Ask a model the cases of the suite of NAME; exit 1 when a case fails that is not muted."""
    from datetime import UTC, datetime

    from flytewheel.progress import Progress
    from flytewheel.suite_run import run_suite

    with Progress() as progress:
        answered, of = run_suite(
            open_services(with_router=False),
            name,
            model,
            ids=ids,
            samples=samples,
            temperature=temperature,
            recipe=recipe,
            now=datetime.now(UTC),
            progress=progress,
        )
    failed = [one for one in answered if one.counts_as_failed]

    def text() -> None:
        rows = [
            (
                one.case.id,
                one.case.check,
                f"{one.outcome.value}{' (muted)' if one.muted else ''}",
                f"{one.tally.passed} of {one.tally.samples}",
                _cut(one.case.expected),
                _cut(one.show()),
            )
            for one in answered
        ]
        print_table(("case", "check", "outcome", "passed", "expected", "said"), rows)
        click.echo(f"{of}: {len(failed):,} of {len(answered):,} cases fail")

    say({"model": of, "failed": len(failed), "cases": [one.to_json() for one in answered]}, json_, text)
    sys.exit(1 if failed else 0)


@suite.command("mute")
@click.argument("name")
@click.argument("case_id", metavar="CASE")
@click.option("--reason", required=True, help="Why it does not count.")
@click.option("--until", required=True, metavar="DATE|7d", help="When it counts again; 90 days ahead at most.")
@by_option
@as_json
def suite_mute(name: str, case_id: str, reason: str, until: str, by: str, json_: bool) -> None:
    """Let CASE of model NAME not count for a while."""
    from datetime import UTC, datetime

    from flytewheel.suite.mutes import mute_case, parse_until

    now = datetime.now(UTC)
    ends = parse_until(until, now)
    database_url = open_services(with_router=False).database_url
    mute = mute_case(database_url, name, case_id, reason=reason, by=by, until=ends, now=now)
    say(mute, json_, lambda: click.echo(f"{case_id} does not count until {mute.until:%Y-%m-%d %H:%M} UTC"))


@suite.command("unmute")
@click.argument("name")
@click.argument("case_id", metavar="CASE")
@by_option
@as_json
def suite_unmute(name: str, case_id: str, by: str, json_: bool) -> None:
    """Let a muted CASE of model NAME count again."""
    from datetime import UTC, datetime

    from flytewheel.suite.mutes import unmute_case

    unmute_case(open_services(with_router=False).database_url, name, case_id, by=by, now=datetime.now(UTC))
    say({"case": case_id, "muted": False}, json_, lambda: click.echo(f"{case_id} counts again"))


@suite.command("retire")
@click.argument("name")
@click.argument("case_id", metavar="CASE")
@click.option("--reason", required=True, help="Why nobody wants it any more.")
@by_option
@as_json
def suite_retire(name: str, case_id: str, reason: str, by: str, json_: bool) -> None:
    """Take CASE out of the suite of model NAME for good."""
    from flytewheel.suite.store import retire_case

    retire_case(open_services(with_router=False).database_url, name, case_id, by=by, reason=reason)
    say({"case": case_id, "retired": True}, json_, lambda: click.echo(f"{case_id} is retired"))


suite.add_command(suite_retire, "remove")


def _make_case(prompt: str | None, system: str | None, context: str | None, fields: dict[str, Any]) -> RegressionCase:
    import json

    from flytewheel.errors import SuiteError
    from flytewheel.records import build_prompt, digest, to_jsonable
    from flytewheel.suite.cases import SUITE, parse_case

    if not prompt or not fields.get("check") or "expected" not in fields:
        raise SuiteError("a case needs --prompt, --check and --expected; or give a file of cases with --file")
    turns = to_jsonable(build_prompt(prompt, system=system, context=context))
    body = {"user": SUITE, "topic": SUITE, "prompt": turns, **fields}
    name = body.pop("case_id", None) or f"case-{digest(body)[:10]}"
    return parse_case(json.dumps({"id": name, **body}))


def _describe(line: Line) -> tuple[str, ...]:
    last = line.last
    return (
        line.id,
        line.origin,
        line.check,
        _cut(line.expected or ""),
        f"{last.outcome} ({last.passed} of {last.samples})" if last else "not asked yet",
        f"{last.model} {last.at:%Y-%m-%d %H:%M}" if last else "",
        line.describe_state(),
    )


def _cut(text: str) -> str:
    flat = " ".join(text.split())
    return flat if len(flat) <= _SHOWN else f"{flat[: _SHOWN - 1]}…"
