"""The command `flytewheel eval A B`: any two models judged against each other, outside of a turn."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from flytewheel.terminal import as_json, open_services, say

if TYPE_CHECKING:
    from flytewheel.contest.contest import Outcome
    from flytewheel.local.services import Services

_SIGNS = {"promote_to_canary": "✔ promote to canary", "hold": "‖ hold", "reject": "✖ reject"}


@click.command("eval")
@click.argument("a")
@click.argument("b")
@click.option("--name", help="Model of versions that are given without one.")
@click.option(
    "--dataset",
    metavar="DIGEST|FOLDER",
    help="Its test part judges.  [default: the one that A was judged on, else B's, else the newest]",
)
@click.option(
    "--recipe",
    type=click.Path(path_type=Path),
    help="Says base, evaluation, gate and seed.  [default: the one that A was made by, else B's]",
)
@click.option("--out", type=click.Path(path_type=Path), help="[default: HOME/evaluations/DIGEST]")
@click.option("--strict", is_flag=True, help="Exit 1 unless the verdict is to promote.")
@as_json
def evaluate(
    a: str,
    b: str,
    name: str | None,
    dataset: str | None,
    recipe: Path | None,
    out: Path | None,
    strict: bool,
    json_: bool,
) -> None:
    """Judge A as a candidate against B as the champion, and write report.html.

    A and B are each NAME:VERSION (or NAME:champion, NAME:challenger), a folder with an adapter or full weights, or
    `base`. The same two on the same data are judged once; the gate's rules are applied each time.
    """
    from flytewheel.contest.contest import choose_dataset, hold_contest
    from flytewheel.contest.contestants import find_recipe, look_up
    from flytewheel.progress import Progress, quiet_libraries
    from flytewheel.settings import read_settings
    from flytewheel.signed_registry import open_registry
    from flytewheel.turn_suite import list_muted
    from registry.versions import Registry

    @cache  # nothing is started where nothing is needed
    def services() -> Services:
        return open_services(with_router=False)

    @cache
    def registry() -> Registry:
        return open_registry(services())

    sides = look_up(a, name, registry), look_up(b, name, registry)
    given = find_recipe(recipe, sides)
    folder = choose_dataset(dataset, sides, given, services)
    versions = any(side.manifest is not None for side in sides)
    mutes = list_muted(services().database_url, given.name, datetime.now(UTC)) if versions else {}
    home = read_settings().home
    with Progress() as progress, quiet_libraries():
        found = hold_contest(
            sides, folder, given, home=home, out=out, services=services, mutes=mutes, progress=progress
        )
    facts = {
        "candidate": sides[0].name,
        "champion": sides[1].name,
        "decision": found.verdict.decision,
        "reasons": found.verdict.reasons,
        "digest": found.digest,
        "dataset": found.evaluation.dataset,
        "resumed": found.resumed,
        "unknown": found.unknown,
        "folder": found.folder,
        "report": found.page,
        "evaluation": found.evaluation,
    }
    say(facts, json_, lambda: _print(facts, found))
    if strict and found.verdict.decision != "promote_to_canary":
        sys.exit(1)


def _print(facts: dict[str, Any], found: Outcome) -> None:
    from flytewheel.evaluation.report import describe
    from flytewheel.figures import clean

    click.echo(clean(f"{facts['candidate']} against {facts['champion']}, data set {facts['dataset'][:12]}"))
    if found.resumed:
        click.echo("judged before: the figures are those of then")
    click.echo()
    click.echo(clean(describe(found.evaluation)))
    click.echo(f"\n{_SIGNS[found.verdict.decision]}")
    for reason in found.verdict.reasons:
        click.echo(clean(f"  {reason}"))
    for line in found.unknown:
        click.echo(clean(f"  not looked at: {line}"))
    click.echo(f"\n{found.page}")
