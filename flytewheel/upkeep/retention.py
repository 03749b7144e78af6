"""Carries out the age limits: interactions with what was said of them, and what runs left behind.

A run's rows stay, since lineage and windows are told by them; what goes is large or holds people's texts: its pages and
decks (in the store and in this machine's home) and copies of checkpoints that nobody goes on from. The runs that the
registry's aliases came from keep theirs: somebody may want to know why they serve. Said twice, nothing more goes.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from flytewheel.database import connect
from flytewheel.feedback.expiry import expire
from flytewheel.notify.ledger import forget_old
from flytewheel.recipe import Recipe
from flytewheel.training.uploads import Store, list_copies
from flytewheel.upkeep.reports import Report

TOLD_DAYS = 180.0  # that it is kept who was told what; nobody tries an execution again that is so old

Progress = Callable[[str, int, int | None], None]


@dataclass(frozen=True, slots=True)
class Place:
    """Where things lie: `home` is this machine's state, `kept` the runs whose pages stay; `collect` makes one pass over
    the registry's garbage and says how many objects went.
    """

    database_url: str
    store: Store
    home: Path
    kept: frozenset[str]
    collect: Callable[[], int] | None = None


def carry_out_limits(
    place: Place,
    recipe: Recipe,
    *,
    days: float | None,
    now: datetime,
    by: str,
    progress: Progress | None = None,
) -> Report:
    """Deletes what is older than the recipe allows, and says what went.

    Args:
        place: where things lie.
        recipe: `automation.upkeep.retention`.
        days: how long interactions are kept where the recipe says nothing; None: for ever.
        now: the moment from which ages count.
        by: who asks, for the record.
        progress: told (what, how many went, of how many).

    Raises:
        DatabaseError: PostgreSQL is away; what went stays away, and the next call goes on.
        StoreError: the object store is away.
    """
    spec = recipe.automation.upkeep.retention
    figures: dict[str, object] = {}
    limit = spec.interactions_days if spec.interactions_days is not None else days
    if limit is None:
        figures["interactions"] = "kept for ever"
    else:
        gone = expire(place.database_url, limit, now, by=by, progress=progress)
        figures |= {
            "interactions_older_than": f"{gone.cutoff:%Y-%m-%d %H:%M} UTC",
            "interactions": gone.interactions,
            "events": gone.events,
            "quarantined_lines": gone.quarantined,
            "still_needed": dict(gone.held),
        }
    if spec.runs_days is None:
        figures["runs"] = "kept for ever"
    else:
        figures |= _clear_runs(place, recipe.name, now - timedelta(days=spec.runs_days), progress)
    if spec.collect_garbage and place.collect is not None:
        figures["registry_objects"] = place.collect()
    figures["notes_of_messages"] = forget_old(place.database_url, before=now - timedelta(days=TOLD_DAYS))
    return Report("retention", recipe.name, figures)


def _clear_runs(place: Place, name: str, cutoff: datetime, progress: Progress | None) -> dict[str, object]:
    ended = _list_ended(place.database_url, name, cutoff)
    gone = [run for run in ended if run not in place.kept]
    objects = folders = 0
    for number, run in enumerate(gone, 1):
        keys = place.store.list(f"runs/{run}/")
        for key in keys:
            place.store.delete(key)
        objects += len(keys)
        folder = place.home / "runs" / run
        if folder.is_dir():
            shutil.rmtree(folder)
            folders += 1
        if progress is not None:
            progress("clear runs", number, len(gone))
    copies = [stored for stored, about in list_copies(place.store) if about.get("run") in set(gone)]
    for stored in copies:
        stored.clear()
    return {
        "runs_older_than": f"{cutoff:%Y-%m-%d %H:%M} UTC",
        "runs_cleared": len(gone),
        "run_objects": objects,
        "run_folders": folders,
        "checkpoint_copies": len(copies),
        "runs_kept_for_their_versions": len(ended) - len(gone),
    }


def _list_ended(database_url: str, name: str, cutoff: datetime) -> list[str]:
    """Runs that ended before, and are not the newest: that one may be taken up again, or looked at."""
    with connect(database_url) as connection:
        rows = connection.execute(
            "SELECT run_id FROM runs r WHERE name = %s AND status <> 'running' AND ended_at < %s AND EXISTS ("
            " SELECT FROM runs n WHERE n.name = r.name AND n.started_at > r.started_at) ORDER BY run_id",
            (name, cutoff),
        ).fetchall()
    return [row[0] for row in rows]
