"""What of a data set was erased since it was frozen, and the data set without it.

Nothing else notes an erasure: the rows are gone from the store, and that they are gone is the record. A row of a data
set names the interactions and events that it comes from; it counts as erased when one of them is no longer there. Rows
that name none (a data set written by hand) cannot be told, and count as there.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from flytewheel.database import Connection, connect
from flytewheel.dataset import Dataset, DatasetCard, digest_content, part_file, write_rows
from flytewheel.dataset.card import commit_card
from flytewheel.records import Preference, SftRow, Trajectory, Unpaired

LEARNT = ("train", "validation")  # the validation rows choose the checkpoint
_KINDS = ("sft", "preference", "unpaired", "trajectory")
_GONE = """
SELECT given.id FROM unnest(%(ids)s::text[]) AS given (id)
WHERE NOT EXISTS (SELECT FROM {table} kept WHERE kept.{column} = given.id)
"""

Row = SftRow | Preference | Unpaired | Trajectory


@dataclass(frozen=True, slots=True)
class Erased:
    """Ids that a data set's learnt rows name and the store no longer holds."""

    interactions: frozenset[str]
    events: frozenset[str]

    def __bool__(self) -> bool:
        return bool(self.interactions or self.events)

    def __str__(self) -> str:
        return f"{len(self.interactions):,} interactions and {len(self.events):,} events"

    def touches(self, row: Row) -> bool:
        """Whether a row comes from something that was erased."""
        return not (self.interactions.isdisjoint(row.interactions) and self.events.isdisjoint(row.events))


def find_erased(database_url: str, folder: Path) -> Erased:
    """Looks every interaction and event up that the learnt rows of the data set in `folder` come from.

    Raises:
        DatabaseError: PostgreSQL is away.
        DatasetError: the data set cannot be read.
    """
    data = Dataset(folder)
    interactions: set[str] = set()
    events: set[str] = set()
    for kind in _KINDS:
        for part in LEARNT:
            for row in data.rows(kind, part):
                interactions.update(row.interactions)
                events.update(row.events)
    with connect(database_url) as connection:
        return Erased(
            _look_up(connection, "interactions", "interaction_id", interactions),
            _look_up(connection, "feedback_events", "event_id", events),
        )


def leave_out(folder: Path, out: Path, erased: Erased) -> DatasetCard:
    """Writes what a replay reads of a data set, its training rows, without the erased ones.

    Args:
        folder: the data set.
        out: gets the rows, and a card whose `content_digest` is theirs.
        erased: what to leave out.
    """
    data = Dataset(folder)

    def left(kind: str) -> Iterable[Any]:
        return (row for row in data.rows(kind, "train") if not erased.touches(row))

    for kind in _KINDS:
        write_rows(part_file(out, kind, "train"), kind, left(kind))
    card = replace(data.card, content_digest=digest_content(out))
    commit_card(out, card)
    return card


def _look_up(connection: Connection, table: str, column: str, ids: Iterable[str]) -> frozenset[str]:
    query = _GONE.format(table=table, column=column)
    return frozenset(row[0] for row in connection.execute(query, {"ids": sorted(ids)}).fetchall())
