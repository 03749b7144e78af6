"""The commands `flytewheel gate …`: a run's verdict with every reason, and a person's decision in its place."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from flytewheel.terminal import as_json, open_services, print_table, say

if TYPE_CHECKING:
    from pathlib import Path

    from flytewheel.local.services import Services

DECISIONS = ("promote_to_canary", "reject", "hold")


@click.group()
def gate() -> None:
    """Verdicts about candidates."""


@gate.command("show")
@click.argument("run_id")
@as_json
def gate_show(run_id: str, json_: bool) -> None:
    """Show what the gate of run RUN_ID said, why, and who overruled it."""
    from flytewheel.errors import GateError
    from flytewheel.overrides import read_overrides
    from flytewheel.runs import read_reports, read_run

    database_url = open_services(with_router=False).database_url
    read_run(database_url, run_id)
    report = read_reports(database_url, run_id).get("gate")
    if report is None or "decision" not in report:
        raise GateError(f"run {run_id} has not come to its gate: there is no verdict yet")
    overrides = read_overrides(database_url, run_id)

    def text() -> None:
        own = report.get("verdict", report["decision"])
        click.echo(report["decision"] + (f" (the gate's own: {own})" if own != report["decision"] else ""))
        for line in report["reasons"]:
            click.echo(f"  {line}")
        if overrides:
            rows = [
                (f"{each.at:%Y-%m-%d %H:%M}", each.by, each.verdict, each.decision, each.reason) for each in overrides
            ]
            print_table(("at", "who", "gate", "decision", "why"), rows)

    say({"report": report, "overrides": overrides}, json_, text)


@gate.command("override")
@click.argument("run_id")
@click.option("--decision", type=click.Choice(DECISIONS), required=True, help="Instead of the gate's.")
@click.option("--by", required=True, help="Your name: it stands in the reasons, the manifest and the log.")
@click.option("--reason", required=True, help="What the gate did not know, in a few words at least.")
@click.option("--candidate", help="Digest of the weights that were looked at, or its beginning; refused for others.")
@as_json
def gate_override(run_id: str, decision: str, by: str, reason: str, candidate: str | None, json_: bool) -> None:
    """Decide about the candidate of run RUN_ID in the place of the gate.

    To promote opens the run again: the next turn of its recipe resumes and releases it.
    """
    from flytewheel.overrides import record_override
    from flytewheel.records import Decision

    services = open_services(with_router=False)
    made = record_override(services.database_url, run_id, Decision(decision), by=by, reason=reason, candidate=candidate)
    recipe = _write_recipe(services, run_id) if made.decision is Decision.PROMOTE_TO_CANARY else None

    def text() -> None:
        click.echo(f"run {run_id}: {made.describe()}")
        if recipe is not None:
            click.echo(f"next: flytewheel run {recipe}, which resumes this run and releases its candidate")

    found: dict[str, Any] = {"override": made, "recipe": recipe}
    say(found, json_, text)


def _write_recipe(services: Services, run_id: str) -> Path:
    """The run's own recipe as a file: whoever runs it resumes this run, whatever became of the file it came from."""
    from flytewheel.runs import read_run

    path = services.home / "runs" / run_id / "recipe.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(read_run(services.database_url, run_id).recipe.model_dump_json(indent=1) + "\n", encoding="utf-8")
    return path
