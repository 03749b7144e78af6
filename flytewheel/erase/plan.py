"""What an erasure would take out, before anything is: counts by place, data sets, and the versions it taints."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from flytewheel.database import Connection, connect
from flytewheel.dataset import DatasetCard, parse_card
from flytewheel.dataset.layout import CARD
from flytewheel.erase.database import count_person
from flytewheel.erase.needles import Needles
from flytewheel.erase.person import Person, find_person, list_others, list_texts
from flytewheel.erase.places import list_unmendable, sweep_home, sweep_store
from flytewheel.erase.shelves import meets
from flytewheel.errors import DatasetError
from flytewheel.lineage.index import refresh_index
from flytewheel.lineage.walk import Origin, Touch, list_rows, list_versions, trace
from flytewheel.progress import ProgressCallback
from flytewheel.tombstones import PREFIX
from registry.store import ObjectStore

_TIMES = """
SELECT min("timestamp"), max("timestamp"), array_agg(DISTINCT source) FROM (
    SELECT "timestamp", source FROM interactions WHERE interaction_id = ANY(%(said)s)
    UNION ALL SELECT "timestamp", source FROM feedback_events WHERE event_id = ANY(%(heard)s)
) AS rows
"""


@dataclass(frozen=True, slots=True)
class Found:
    """A person with everything by which they are found, and where in data sets and models they are.

    `datasets` hold rows of theirs (digest to rows), `quoting` are others whose window met them: their cards may quote.
    """

    needles: Needles = field(repr=False)
    datasets: Mapping[str, int]
    quoting: tuple[str, ...]
    touched: tuple[Touch, ...]

    @property
    def person(self) -> Person:
        person: Person = self.needles.person
        return person


@dataclass(frozen=True, slots=True)
class Plan:
    """Counts by place. `versions` are touched, those with `learnt` would be tainted; `unmendable` are the registry's
    own files that quote the person and cannot change.
    """

    interactions: int
    events: int
    database: Mapping[str, int]
    datasets: Mapping[str, int]
    quoting: int
    files: Mapping[str, int]
    versions: tuple[Touch, ...]
    unmendable: tuple[str, ...]

    @property
    def empty(self) -> bool:
        return not (self.interactions or self.events or self.database or self.datasets or self.files or self.unmendable)


def find_everything(database_url: str, store: ObjectStore, user: str, progress: ProgressCallback) -> Found:
    """Finds a person; the index is brought up to date for it.

    Raises:
        DatabaseError, StoreError: a service is away.
        DatasetError: a data set cannot be read.
    """
    index = refresh_index(database_url, store, progress=progress)
    with connect(database_url) as connection:
        person = find_person(connection, user)
        progress("read what others said", 0, None)
        needles = Needles(person, list_texts(connection, person), list_others(connection, person))
        origin = Origin(tuple(sorted(person.names)), tuple(sorted(person.interactions)), tuple(sorted(person.events)))
        rows = list_rows(connection, origin)
        touched = trace(list_versions(connection), index.stones, rows)
        times = _find_times(connection, person)
    held: dict[str, int] = {}
    for each in rows:
        held[each.dataset] = held.get(each.dataset, 0) + each.count
    quoting = [
        card.digest
        for card in _list_cards(store)
        if card.digest not in held and times is not None and meets(card, *times)
    ]
    return Found(needles, held, tuple(quoting), tuple(touched))


def make_plan(
    database_url: str,
    store: ObjectStore,
    home: Path,
    found: Found,
    progress: ProgressCallback,
    assignment_key: str = "",
) -> Plan:
    """Counts what would go, and changes nothing."""
    with connect(database_url) as connection:
        counts = count_person(connection, found.needles, assignment_key)
        quoting = list_quoting_runs(connection, [*found.datasets, *found.quoting])
    files = sweep_home(home, found.needles, quoting=quoting, write=False, progress=progress)
    files += sweep_store(store, found.needles, write=False, progress=progress)
    return Plan(
        len(found.person.interactions),
        len(found.person.events),
        dict(sorted(counts.items())),
        dict(found.datasets),
        len(found.quoting),
        dict(sorted(files.items())),
        found.touched,
        tuple(list_unmendable(store, found.needles)),
    )


def list_quoting_runs(connection: Connection, digests: list[str]) -> frozenset[str]:
    """The runs that made these data sets."""
    rows = connection.execute(
        "SELECT run_id FROM run_stations WHERE station = 'curate' AND report ->> 'digest' = ANY(%s)", (digests,)
    ).fetchall()
    return frozenset(str(row[0]) for row in rows)


def _find_times(connection: Connection, person: Person) -> tuple[list[str], tuple[datetime, datetime] | None] | None:
    values = {"said": sorted(person.interactions), "heard": sorted(person.events)}
    ((first, last, sources),) = connection.execute(_TIMES, values).fetchall()
    return None if first is None else (list(sources), (first, last))


def _list_cards(store: ObjectStore) -> list[DatasetCard]:
    cards = []
    for key in store.list(PREFIX):
        if key.endswith(f"/{CARD}"):
            try:
                cards.append(parse_card(store.get_bytes(key), key))
            except DatasetError:
                continue  # of another version of flytewheel: `flytewheel datasets list` says so
    return cards
