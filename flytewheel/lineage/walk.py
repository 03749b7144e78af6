"""From a version down to the feedback events that it learnt from, and from an event up to every model it touched.

A touch says how: rows were trained on, came in by the replay of an earlier data set, chose the checkpoint (validation),
taught the reward model that steered a GRPO training, or are in the adapter that training went on from (`inherited`: a
small turn has seen all that its champion has seen). Rows of the test part and cases of the regression suite only judged
(`judged`): no weight has seen them. `apart` are holdout users' rows and votes in quarantine, which nothing used.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from flytewheel.database import Connection
from flytewheel.errors import FeedbackError, RegistryError
from flytewheel.records import HOLDOUT
from flytewheel.tombstones import Tombstone, follow
from registry.manifest import parse_version

How = Literal["trained", "replayed", "validated", "reward", "inherited", "judged", "apart"]
HOWS: tuple[How, ...] = ("trained", "replayed", "validated", "reward", "inherited", "judged", "apart")
LEARNT = frozenset(HOWS[:5])  # the weights have seen it

_ROWS = """
SELECT dataset, kind, part, source, count(*) FROM dataset_rows
WHERE user_id = ANY(%(users)s) OR interactions && %(interactions)s OR events && %(events)s
GROUP BY dataset, kind, part, source ORDER BY dataset, kind, part, source
"""
_OF_DATASET = """
SELECT dataset, kind, part, source, count(*) FROM dataset_rows WHERE dataset = %s
GROUP BY dataset, kind, part, source ORDER BY kind, part, source
"""
_SOURCES = """
SELECT (SELECT count(DISTINCT user_id) FROM dataset_rows WHERE dataset = %(dataset)s),
    (SELECT count(DISTINCT id) FROM dataset_rows, unnest(interactions) AS id WHERE dataset = %(dataset)s),
    (SELECT count(DISTINCT id) FROM dataset_rows, unnest(events) AS id WHERE dataset = %(dataset)s)
"""
_EVENTS = """
SELECT DISTINCT id COLLATE "C" FROM dataset_rows, unnest(events) AS id
WHERE dataset = %s AND part <> 'holdout' AND kind <> 'quarantined' ORDER BY 1
"""


@dataclass(frozen=True, slots=True)
class Origin:
    """Whose or which rows are asked for; a row belongs where it names any of these."""

    users: tuple[str, ...] = ()
    interactions: tuple[str, ...] = ()
    events: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows of one kind, part and source in a data set."""

    dataset: str
    kind: str
    part: str
    source: str
    count: int

    @property
    def how(self) -> How:
        """What they do to a model that learns from the data set."""
        if self.kind == "regression" or self.part == "test":
            return "judged"
        if self.part == "validation":
            return "validated"
        if self.part != "train" or self.part == HOLDOUT:
            return "apart"
        return "replayed" if self.source == "replay" else "trained"


@dataclass(frozen=True, slots=True)
class Touch:
    """A version that was touched: how, by how many rows of its own data set, and through which parent if inherited.

    `dataset` is the digest in its manifest, `standing` what that data set is by now.
    """

    name: str
    version: str
    how: tuple[How, ...]
    dataset: str
    standing: str
    rows: int
    through: str = ""

    @property
    def learnt(self) -> bool:
        """Whether the weights have seen it."""
        return not LEARNT.isdisjoint(self.how)


@dataclass(frozen=True, slots=True)
class VersionFacts:
    """What the index knows of a version."""

    name: str
    version: str
    dataset: str
    started_from: str
    run_id: str
    reward: bool
    serve_days: float | None


@dataclass(frozen=True, slots=True)
class DatasetLineage:
    """A data set: its rows, how many users, interactions and events they come from, and the versions made of it."""

    dataset: str
    tombstone: Tombstone | None
    rows: tuple[Rows, ...]
    users: int
    interactions: int
    events: int
    versions: tuple[str, ...]
    event_ids: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class VersionLineage:
    """A version, its data set, and the version whose adapter it goes on from with the same of that one."""

    facts: VersionFacts
    dataset: DatasetLineage | None
    parent: VersionLineage | None = field(default=None)


def find_event(connection: Connection, name: str) -> Origin:
    """The origin that an event's id, or an interaction's with all its events, stands for.

    Raises:
        FeedbackError: neither the feedback nor any data set knows the id.
    """
    row = connection.execute("SELECT FROM feedback_events WHERE event_id = %s", (name,))
    if row.rowcount:
        return Origin(events=(name,))
    if connection.execute("SELECT FROM interactions WHERE interaction_id = %s", (name,)).rowcount:
        events = connection.execute("SELECT event_id FROM feedback_events WHERE interaction_id = %s", (name,))
        return Origin(interactions=(name,), events=tuple(str(row[0]) for row in events.fetchall()))
    for column in ("events", "interactions"):
        if connection.execute(f"SELECT FROM dataset_rows WHERE {column} @> %s LIMIT 1", ([name],)).rowcount:
            return Origin(**{column: (name,)})
    raise FeedbackError(
        f"no event or interaction {name!r} in this database or its data sets: expected an id of `flytewheel feedback "
        "export`; what was erased leaves none"
    )


def find_user(connection: Connection, user: str) -> Origin:
    """Everything that a user said, and everything that was said to or of their interactions."""
    said = connection.execute("SELECT interaction_id FROM interactions WHERE user_id = %s", (user,)).fetchall()
    heard = connection.execute(
        "SELECT e.event_id FROM feedback_events e JOIN interactions i USING (interaction_id)"
        " WHERE e.user_id = %(user)s OR i.user_id = %(user)s",
        {"user": user},
    ).fetchall()
    return Origin((user,), tuple(str(row[0]) for row in said), tuple(str(row[0]) for row in heard))


def list_rows(connection: Connection, origin: Origin) -> list[Rows]:
    """The rows of all data sets that come from an origin."""
    values = {"users": list(origin.users), "interactions": list(origin.interactions), "events": list(origin.events)}
    return [Rows(*row) for row in connection.execute(_ROWS, values).fetchall()]


def list_versions(connection: Connection) -> list[VersionFacts]:
    """Every version in the index, by name and in the order of registration."""
    rows = connection.execute(
        "SELECT name, version, dataset, started_from, run_id, reward, serve_days FROM indexed_versions"
    ).fetchall()
    return sorted((VersionFacts(*row) for row in rows), key=lambda one: (one.name, _order(one.version)))


def trace(versions: Iterable[VersionFacts], stones: dict[str, Tombstone], rows: Sequence[Rows]) -> list[Touch]:
    """Every version that these rows touched, in the order of registration.

    Args:
        versions: all of them, as `list_versions` gives them.
        stones: tombstones of data sets.
        rows: of `list_rows`.
    """
    held: dict[str, list[Rows]] = {}
    for each in rows:
        held.setdefault(each.dataset, []).append(each)
    found: dict[tuple[str, str], Touch] = {}
    for facts in versions:  # parents before their children: a version is registered after the one it goes on from
        standing = follow(stones, facts.dataset)
        own = held.get(standing, [])
        hows = {each.how for each in own}
        if facts.reward and any(each.kind == "preference" and each.part in ("train", "validation") for each in own):
            hows.add("reward")
        parent = found.get((facts.name, facts.started_from))
        inherited = parent is not None and parent.learnt
        if inherited:
            hows.add("inherited")
        if hows:
            found[facts.name, facts.version] = Touch(
                facts.name, facts.version, tuple(how for how in HOWS if how in hows), facts.dataset, standing,
                sum(each.count for each in own), facts.started_from if inherited else "",
            )  # fmt: skip
    return list(found.values())


def describe_dataset(
    connection: Connection, stones: Mapping[str, Tombstone], dataset: str, *, events: bool = False
) -> DatasetLineage:
    """A data set's rows and where they come from; of one that was erased, of what is left of it.

    Args:
        connection: the index must be fresh.
        stones: tombstones of data sets.
        dataset: digest.
        events: whether the ids of the events are wanted too.
    """
    standing = follow(dict(stones), dataset)
    rows = tuple(Rows(*row) for row in connection.execute(_OF_DATASET, (standing,)).fetchall())
    ((users, said, heard),) = connection.execute(_SOURCES, {"dataset": standing}).fetchall()
    made = [
        f"{facts.name} {facts.version}"
        for facts in list_versions(connection)
        if facts.dataset and follow(dict(stones), facts.dataset) == standing
    ]
    names = tuple(str(row[0]) for row in connection.execute(_EVENTS, (standing,)).fetchall()) if events else ()
    return DatasetLineage(dataset, stones.get(dataset), rows, users, said, heard, tuple(made), names)


def describe_version(
    connection: Connection, stones: Mapping[str, Tombstone], name: str, version: str, *, events: bool = False
) -> VersionLineage:
    """A version down to its rows, and the versions that it went on from; arguments as `describe_dataset`.

    Raises:
        RegistryError: the index holds no such version.
    """
    known = {(facts.name, facts.version): facts for facts in list_versions(connection)}
    if (name, version) not in known:
        raise RegistryError(f"{name}: no version {version!r} in the index; see `flytewheel models list {name}`")
    chain = []
    at: VersionFacts | None = known[name, version]
    while at is not None and at not in chain:
        chain.append(at)
        at = known.get((name, at.started_from))
    found: VersionLineage | None = None
    for facts in reversed(chain):
        data = describe_dataset(connection, stones, facts.dataset, events=events) if facts.dataset else None
        found = VersionLineage(facts, data, found)
    assert found is not None  # the chain begins with the version itself
    return found


def _order(version: str) -> tuple[Any, ...]:
    return parse_version(version) or (0, 0, 0)
