"""`make containers`: builds the tasks' images and runs every task in its container; see docs/containers.md."""

from __future__ import annotations

import json
import signal
import sys
import time
from pathlib import Path
from typing import Any

import click

from deploy.containers import ContainersError
from deploy.containers.build import ROOT
from deploy.containers.scenes import SCENES, Check, play
from deploy.containers.session import Session, open_session
from flytewheel.progress import Progress
from flytewheel.recipe import load_recipe
from flytewheel.records import to_jsonable
from flytewheel.settings import read_settings


@click.command()
@click.option("--scene", "scenes", multiple=True, type=click.Choice(list(SCENES)), help="only these, in this order")
@click.option(
    "--recipe", type=click.Path(path_type=Path), default=ROOT / "recipes" / "demo.yaml", show_default="demo's"
)
@click.option("--build", "only_build", is_flag=True, help="build and import the images, run nothing")
@click.option("--rebuild", is_flag=True, help="build the kept layers anew")
@click.option("--once", is_flag=True, help="do not run each container of a turn a second time")
@click.option("--json", "report", type=click.Path(path_type=Path), help="write what was found to this file, too")
def main(
    scenes: tuple[str, ...], recipe: Path, only_build: bool, rebuild: bool, once: bool, report: Path | None
) -> None:
    """Runs the tasks of the workflows in real containers, as a cluster would."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that what was started is stopped
    started = time.monotonic()
    checks: list[Check] = []
    home = (read_settings().home / "containers").absolute()
    try:
        with Progress() as progress, open_session(home, say=_say, tell=progress, rebuild=rebuild) as session:
            if only_build:
                return
            session.twice = not once
            for check in play(session, load_recipe(recipe), list(scenes or SCENES)):
                checks.append(check)
                _say(f"  {'held ' if check.holds else 'SHORT'} {check.name}: {check.found}")
            if not scenes:
                checks.append(_count_tasks(session))
            seconds = time.monotonic() - started
            if report is not None:
                report.write_text(json.dumps(_describe(session, checks, seconds), indent=1) + "\n", encoding="utf-8")
    except ContainersError as error:
        raise SystemExit(f"error: {error}") from error
    short = [check.name for check in checks if not check.holds]
    _say(f"\n{len(checks) - len(short)} of {len(checks)} hold, {time.monotonic() - started:.0f} s")
    sys.exit(1 if short else 0)


def _count_tasks(session: Session) -> Check:
    tasks = set(session.registered.tasks)
    mapped = {name for name in tasks if "-arraynode" in name}
    plain = {name.split(".map_")[0] + "." + name.split(".map_")[1].rsplit("_", 1)[0] for name in mapped}
    missed = sorted(tasks - plain - {one.task for one in session.attempts if one.succeeded})
    return Check(
        "every task ran in its container",
        not missed,
        f"{len(tasks - plain)} tasks" + (f", not {missed}" if missed else ""),
    )


def _describe(session: Session, checks: list[Check], seconds: float) -> dict[str, Any]:
    attempts = [
        {
            "task": one.task,
            "path": one.path,
            "attempt": one.number,
            "outcome": one.outcome,
            "kind": one.kind,
            "exit_code": one.ended.exit_code,
            "reason": one.ended.reason,
            "seconds": round(one.ended.seconds, 2),
            "peak_bytes": one.ended.peak_bytes,
            "memory_bytes": one.memory_bytes,
            "deck_bytes": one.deck_bytes,
        }
        for one in session.attempts
    ]
    return {"seconds": round(seconds, 1), "checks": [to_jsonable(check) for check in checks], "attempts": attempts}


def _say(line: str) -> None:
    click.echo(line)


if __name__ == "__main__":
    main()
