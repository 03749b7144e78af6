"""Names that move from version to version, by compare-and-set and with every move written down.

    aliases/<name>/<alias>    champion, challenger, free ones    (compare-and-set by ETag)

`previous` has no object of its own: the champion's record also says which versions were champion before it, and
`previous` is the last of them. So one write moves both, and no kill can come between them. Rolling back takes that
last one off again: the version that was left is not `previous` then, or two rollbacks would bring it back.

A record is the truth about its last move; the entry in the journal is written after it, by whoever looks next if the
one who moved it was killed.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from typing import Any

from flytewheel.errors import RegistryError
from registry.journal import read_events, write_event
from registry.manifest import check_alias, check_name
from registry.slips import read_slip, write_slip
from registry.store import ObjectStore

ALIASES = "aliases/"
CHAMPION = "champion"
PREVIOUS = "previous"
TRAIL = 20  # earlier champions kept in the record; the journal keeps all
_TRIES = 100  # each lost race means that another writer finished; so many in a row mean that something is wrong


@dataclass(frozen=True, slots=True)
class Move:
    """One move of an alias, and where it stands after it.

    Attributes:
        alias: Which.
        kind: `set`, `promote` or `rollback`.
        was: Version before; empty for the first move.
        version: Version after.
        trail: Versions that stood there before, the last one first; only the champion's is kept.
        count: Moves so far, this one included.
        at: By the mover's clock.
        by: Who moved it, as they called themselves.
        reason: Why, in their words.
    """

    alias: str
    kind: str
    was: str
    version: str
    trail: tuple[str, ...]
    count: int
    at: datetime
    by: str
    reason: str


class Aliases:
    """The aliases of all models in one store; `clock` dates their moves."""

    def __init__(self, store: ObjectStore, clock: Callable[[], datetime]) -> None:
        self._store = store
        self._clock = clock

    def get(self, name: str, alias: str) -> str | None:
        """The version that an alias stands for; None where it stands for none."""
        check_name(name)
        check_alias(alias)
        if alias == PREVIOUS:
            trail = self._read(name, CHAMPION)[0].trail
            return trail[0] if trail else None
        return self._read(name, alias)[0].version or None

    def last(self, name: str, alias: str) -> Move | None:
        """The last move of an alias; None where there was none."""
        check_name(name)
        check_alias(alias)
        move, _ = self._read(name, CHAMPION if alias == PREVIOUS else alias)
        return move if move.count else None

    def all(self, name: str) -> dict[str, str]:
        """All aliases of a model with their versions."""
        check_name(name)
        names = [key.rsplit("/", 1)[1] for key in self._store.list(f"{ALIASES}{name}/")]
        found = {alias: self.get(name, alias) for alias in sorted({*names, PREVIOUS})}
        return {alias: version for alias, version in found.items() if version is not None}

    def history(self, name: str, alias: str) -> list[Move]:
        """Every move of an alias, oldest first; those of `previous` are the champion's."""
        check_name(name)
        check_alias(alias)
        moved = CHAMPION if alias == PREVIOUS else alias
        entries = [each for each in read_events(self._store, name) if each.get("alias") == moved]
        moves = {entry["count"]: _as_move(entry) for entry in entries}
        last, _ = self._read(name, moved)
        if last.count:  # its entry may be what a kill took
            moves[last.count] = last
        return [moves[count] for count in sorted(moves)]

    def move(
        self, name: str, alias: str, version: str, expect: str | None, *, kind: str, by: str, reason: str
    ) -> Move | None:
        """Moves an alias to a version that exists; see `Registry.set_alias`. None where it stood there already."""
        if alias == PREVIOUS:
            raise RegistryError(f"{name}: {PREVIOUS!r} follows the champion and is not set; move the champion")

        def decide(now: Move) -> Move | None:
            if now.version == version and expect in {None, version}:
                return None
            self._check(name, now, expect)
            trail = (now.version, *now.trail)[:TRAIL] if alias == CHAMPION and now.version else ()
            return replace(now, version=version, trail=trail)

        return self._change(name, alias, decide, kind=kind, by=by, reason=reason)

    def roll_back(self, name: str, expect: str | None, *, by: str, reason: str) -> Move:
        """Lets the version before the champion be champion again; see `Registry.roll_back`."""

        def decide(now: Move) -> Move:
            self._check(name, now, expect)
            if not now.trail:
                raise RegistryError(
                    f"{name}: nothing was champion before {now.version or 'now'}; promote the version that should be"
                )
            return replace(now, version=now.trail[0], trail=now.trail[1:])

        move = self._change(name, CHAMPION, decide, kind="rollback", by=by, reason=reason)
        assert move is not None  # `decide` gives one, or raises
        return move

    def _change(
        self, name: str, alias: str, decide: Callable[[Move], Move | None], *, kind: str, by: str, reason: str
    ) -> Move | None:
        key = f"{ALIASES}{name}/{alias}"
        for _ in range(_TRIES):
            now, etag = self._read(name, alias)
            if now.count:
                self._log(name, now)  # in case the one who moved it was killed before writing it down
            wanted = decide(now)
            if wanted is None:
                return None
            at = self._clock().astimezone(UTC)
            moved = replace(wanted, kind=kind, was=now.version, count=now.count + 1, at=at, by=by, reason=reason)
            # The nonce makes every record's ETag its own: two movers with one wish cannot both believe they won.
            data = write_slip(key, {**asdict(moved), "nonce": uuid.uuid4().hex})
            won = self._store.put_if_match(key, data, etag) if etag else self._store.put_if_absent(key, data)
            if won is not None:
                self._log(name, moved)
                return moved
        raise RegistryError(f"{name}: alias {alias!r} moved {_TRIES} times under our hands; try again")

    def _read(self, name: str, alias: str) -> tuple[Move, str]:
        """The last move of an alias, and the ETag of its record; a move with count 0 where there is none."""
        key = f"{ALIASES}{name}/{alias}"
        found = self._store.read(key)
        if found is None:
            return Move(alias, "", "", "", (), 0, datetime.fromtimestamp(0, UTC), "", ""), ""
        return _as_move(read_slip(key, found.data)), found.etag

    def _check(self, name: str, now: Move, expect: str | None) -> None:
        if expect is not None and now.version != expect:
            raise RegistryError(
                f"{name}: alias {now.alias!r} stands for {now.version or 'nothing'}, not {expect or 'nothing'} "
                "as expected: someone moved it, look before you try again"
            )

    def _log(self, name: str, move: Move) -> None:
        write_event(self._store, name, move.at, f"alias-{move.alias}-{move.count}", asdict(move))


def _as_move(record: Mapping[str, Any]) -> Move:
    fields = {field: record[field] for field in Move.__slots__}
    return Move(**{**fields, "trail": tuple(fields["trail"]), "at": datetime.fromisoformat(fields["at"])})
