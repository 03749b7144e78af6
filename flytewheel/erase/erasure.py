"""The erasure, step by step, each of which may be killed at any moment and done again.

1. *taint*: versions that learnt from the person are marked and a training from the base is asked for, before anything
   is gone that says which they are.
2. *files*: what quotes the person under the home and in the store is mended or removed.
3. *datasets*: data sets are written anew without the rows, the old ones tombstoned.
4. *database*: one transaction. Only now the feedback itself goes, by which everything before was found: a kill up to
   here is mended by finding it again.
5. *compact*: what deletions leave on disk goes, in PostgreSQL and in the store.

Then the person is looked for once more: what came in meanwhile, from an import that was running, goes the same way.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from flytewheel.database import connect
from flytewheel.erase.database import delete_person
from flytewheel.erase.person import find_person
from flytewheel.erase.places import list_unmendable, sweep_home, sweep_store
from flytewheel.erase.plan import Found, find_everything, list_quoting_runs
from flytewheel.erase.record import Erasure, close_erasure, note_step, open_erasure
from flytewheel.erase.shelves import clean_quotes, clear_tombstoned, rewrite_dataset
from flytewheel.erase.vacuum import compact
from flytewheel.lineage.walk import VersionFacts, list_versions
from flytewheel.progress import ProgressCallback
from flytewheel.tombstones import list_tombstones
from registry.purge import abort_uploads, purge_versions
from registry.store import ObjectStore
from registry.taints import Reason, Taint, mark_tainted

STEPS = ("taint", "files", "datasets", "database", "compact")
_REASONS: tuple[Reason, ...] = ("trained", "replayed", "validated", "inherited")
_MOST_ROUNDS = 3


@dataclass(frozen=True, slots=True)
class Place:
    """Where an erasure works. `embedded`: PostgreSQL is ours, with its files on this machine. `assignment_key` finds
    the arms that an allocation gave."""

    database_url: str
    store: ObjectStore
    home: Path
    key: str
    embedded: bool
    clock: Callable[[], datetime]
    progress: ProgressCallback
    assignment_key: str = ""


@dataclass(frozen=True, slots=True)
class Erased:
    """What an erasure came to; `notes` are what is left for a person to do."""

    erasure: Erasure
    notes: tuple[str, ...]


def erase_user(
    place: Place,
    user: str,
    *,
    by: str,
    serve_days: float | None = None,
    found: Found | None = None,
    after: Callable[[str], None] = lambda step: None,
) -> Erased:
    """Forgets a user, or goes on with the erasure that was begun.

    Args:
        place: where.
        user: the user id.
        by: who does it, for the record.
        serve_days: how long versions that learnt from the person may still serve; `None`: as their recipes say.
        found: the person, where a plan found them already.
        after: is told each step that is done.

    Raises:
        FeedbackError: people were erased from this database with another key.
        DatabaseError, StoreError: a service is away; calling again goes on.
        DatasetError: a data set cannot be read.
    """
    erasure = open_erasure(place.database_url, place.key, user, by=by, until=place.clock())
    notes: list[str] = []
    for round_ in range(_MOST_ROUNDS):
        done = erasure.steps if round_ == 0 else ()
        if not {"taint", "files", "datasets", "database"} <= set(done):
            found = found or find_everything(place.database_url, place.store, user, place.progress)
            _take_out(place, erasure, found, done, serve_days, after)
            found = None
        if "compact" not in done:
            notes = _compact(place, erasure)
            after("compact")
        with connect(place.database_url) as connection:
            if not find_person(connection, user):
                break
    return Erased(close_erasure(place.database_url, erasure.erasure_id), tuple(notes))


def _take_out(
    place: Place,
    erasure: Erasure,
    found: Found,
    done: tuple[str, ...],
    serve_days: float | None,
    after: Callable[[str], None],
) -> None:
    with connect(place.database_url) as connection:
        quoting = list_quoting_runs(connection, [*found.datasets, *found.quoting])
    if "taint" not in done:
        _note(place, erasure, "taint", _taint(place, erasure, found, serve_days))
        after("taint")
    if "files" not in done:
        files = sweep_home(place.home, found.needles, quoting=quoting, write=True, progress=place.progress)
        files += sweep_store(place.store, found.needles, write=True, progress=place.progress)
        kept = list_unmendable(place.store, found.needles)
        _note(place, erasure, "files", {"files": dict(sorted(files.items())), "unmendable": kept})
        after("files")
    if "datasets" not in done:
        _note(place, erasure, "datasets", _rewrite(place, erasure, found))
        after("datasets")
    successors = {
        digest: stone.successor
        for digest, stone in list_tombstones(place.store).items()
        if stone.erasure == erasure.erasure_id
    }
    with connect(place.database_url) as connection:
        counts = delete_person(
            connection,
            found.needles,
            erasure=erasure.erasure_id,
            key=place.key,
            successors=successors,
            cleaned=[*found.quoting, *successors, *successors.values()],
            assignment_key=place.assignment_key,
        )
        note_step(connection, erasure.erasure_id, "database", {"database": dict(sorted(counts.items()))})
    after("database")


def _taint(place: Place, erasure: Erasure, found: Found, serve_days: float | None) -> Mapping[str, Any]:
    with connect(place.database_url) as connection:
        known = {(facts.name, facts.version): facts for facts in list_versions(connection)}
    marked: list[dict[str, Any]] = []
    for touch in found.touched:
        if not touch.learnt:
            continue
        facts = known[touch.name, touch.version]
        reason: Reason = next((each for each in _REASONS if each in touch.how), "trained")
        taint = Taint(erasure.erasure_id, erasure.until, reason, _find_deadline(erasure, facts, serve_days))
        mark_tainted(place.store, touch.name, touch.version, taint)
        marked.append({"name": touch.name, "version": touch.version, "reason": reason, "deadline": taint.deadline})
    judged = [f"{touch.name} {touch.version}" for touch in found.touched if not touch.learnt]
    with connect(place.database_url) as connection:
        for name in sorted({mark["name"] for mark in marked}):
            connection.execute(
                "INSERT INTO retrains (name, erasure_id) VALUES (%s, %s) ON CONFLICT DO NOTHING",
                (name, erasure.erasure_id),
            )
    return {"versions": marked, "judged_only": judged}


def _find_deadline(erasure: Erasure, facts: VersionFacts, serve_days: float | None) -> datetime | None:
    days = serve_days if serve_days is not None else facts.serve_days
    return None if days is None else erasure.until + timedelta(days=days)


def _rewrite(place: Place, erasure: Erasure, found: Found) -> Mapping[str, Any]:
    for digest in list_tombstones(place.store):
        clear_tombstoned(place.store, place.home, digest)
    rewritten = []
    for number, digest in enumerate(sorted(found.datasets)):
        place.progress("write data sets anew", number, len(found.datasets))
        now = erasure.until
        one = rewrite_dataset(place.store, place.home, digest, found.needles, erasure=erasure.erasure_id, now=now)
        rewritten.append({"digest": one.digest, "successor": one.successor, "rows": one.rows})
    cleaned = [digest for digest in found.quoting if clean_quotes(place.store, place.home, digest, found.needles)]
    return {"datasets": rewritten, "quotes_cleaned": len(cleaned)}


def _compact(place: Place, erasure: Erasure) -> list[str]:
    prefixes = ("datasets/", "runs/", "checkpoints/")
    versions, uploads = purge_versions(place.store, prefixes), abort_uploads(place.store, prefixes)
    notes = compact(place.database_url, embedded=place.embedded, progress=place.progress)
    _note(place, erasure, "compact", {"old_versions": versions, "broken_uploads": uploads})
    return notes


def _note(place: Place, erasure: Erasure, step: str, report: Mapping[str, Any]) -> None:
    with connect(place.database_url) as connection:
        note_step(connection, erasure.erasure_id, step, report)
