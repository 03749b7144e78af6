"""How a turn of the loop meets the regression suite: it grows before the run opens, is frozen for the run, takes in
what curation brought, and learns what came of its cases.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from flytewheel.curation.events import mask_names
from flytewheel.curation.split import choose_part
from flytewheel.dataset import LAYOUT, Dataset
from flytewheel.recipe import Recipe
from flytewheel.runs import Run
from flytewheel.suite.mutes import read_mutes
from flytewheel.suite.rollbacks import People, grow_from_rollbacks
from flytewheel.suite.snapshot import write_snapshot
from flytewheel.suite.store import add_cases, list_kept, note_outcomes


def grow_suite(database_url: str, recipe: Recipe) -> int:
    """Adds the cases of rollbacks that were not looked through yet, and says so; gives how many.

    Raises:
        DatabaseError: PostgreSQL is away.
    """
    people = People(mask_names, lambda user: choose_part(user, recipe.curation) != "train")
    growth = grow_from_rollbacks(database_url, recipe.name, people, system_prompt=recipe.base.system_prompt)
    if growth.added or growth.left_out:
        why = ", ".join(f"{count:,} {reason}" for reason, count in sorted(growth.left_out.items()))
        print(f"suite: {len(growth.added):,} cases from rollbacks{f'; left out: {why}' if why else ''}", flush=True)
    return len(growth.added)


def write_suite(database_url: str, run: Run, folder: Path) -> int:
    """Writes the suite as it was when `run` opened beside its window in `folder`; gives how many cases.

    What was erased since is not in it; what was added, retired or held back since does not change it.

    Raises:
        DatabaseError: PostgreSQL is away.
    """
    kept = list_kept(database_url, run.name, as_of=run.started_at)
    cases = [one.case for one in kept if one.counts]
    write_snapshot(folder, cases, [one.case.id for one in kept if not one.counts])
    return len(cases)


def absorb_cases(database_url: str, run: Run, folder: Path) -> list[str]:
    """Takes the cases that curation derived into the suite; hand-written ones stay where their hand put them.

    Args:
        database_url: PostgreSQL.
        run: whose curation it was.
        folder: the data set.

    Returns:
        The ids of those that are new.

    Raises:
        DatabaseError: PostgreSQL is away.
        DatasetError: the data set cannot be read.
    """
    data = Dataset(folder)
    cases = [case for part in LAYOUT["regression"] for case in data.regression(part) if case.origin != "written"]
    return add_cases(database_url, run.name, cases, run_id=run.run_id)


def list_muted(database_url: str, name: str, now: datetime) -> dict[str, str]:
    """Why cases do not count now, by id."""
    return read_mutes(database_url, name, now)


def note_evaluation(database_url: str, run: Run, details: Mapping[str, Any]) -> None:
    """Keeps what came of the cases of an evaluation, of its `details`."""
    note_outcomes(database_url, run.name, run.run_id, details.get("suite", {}).get("cases", ()))
