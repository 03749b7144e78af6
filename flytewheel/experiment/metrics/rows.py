"""Reads counters of users out of PostgreSQL as arrays, by place (stratum and arm), and settles who counts.

PostgreSQL sends binary arrays (`array_agg`), which NumPy reads in place: a row a user would cost a Python object each,
2 million of them for an experiment of that size. An element costs the server some 150 ns, mostly to send it, so small
counters travel together, several in a number.

A user who met more than one arm of a stratum (staff who override, a split that was changed by hand) is in neither: what
they do cannot be told apart by arm. They are counted, so that whoever reads hears of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from psycopg.pq.abc import PGresult

from flytewheel.database import Connection
from flytewheel.experiment.metrics.strata import BEFORE

Place = tuple[int, str]  # stratum and arm
Column = NDArray[np.int64]
EARLIER: Place = (BEFORE, "")
ANY_COUNT = 2**31 - 1  # what a small counter may be: its column is an integer

_WIDE = ("tokens", "rating_sum", "reward_sum", "spans", "unsupported")  # not bounded by a user's answers
_HEADER = 20  # bytes of a one-dimensional array before its first element


@dataclass(frozen=True, slots=True)
class Word:
    """Counters that are sent as one number, `bits` each, the first one lowest."""

    names: tuple[str, ...]
    bits: int

    def write(self) -> str:
        """Its SQL."""
        return " | ".join(f"({name}::int8 << {self.bits * place})" for place, name in enumerate(self.names))

    def read(self, values: Column) -> dict[str, Column]:
        """The counters, by name."""
        mask = (1 << self.bits) - 1
        return {
            name: values if len(self.names) == 1 else (values >> (self.bits * place)) & mask
            for place, name in enumerate(self.names)
        }


@dataclass(frozen=True, slots=True)
class Rows:
    """The users of one place: `keys` name them, `(users,)`; `columns` and `before` are their counters now and of the
    time before (zeros for who was not there yet), in the same order."""

    keys: Column
    columns: Mapping[str, Column]
    before: Mapping[str, Column]

    def keep(self, which: NDArray[np.bool_]) -> Rows:
        """Some of them."""
        if which.all():
            return self  # no copy of millions of users for nothing
        return Rows(
            self.keys[which],
            {name: values[which] for name, values in self.columns.items()},
            {name: values[which] for name, values in self.before.items()},
        )


def pack(names: Iterable[str], most: int) -> list[Word]:
    """Nearly all counters count a user's answers, of which nobody has more than `most`: so many fit in a number."""
    asked = sorted(names)
    bits = max(1, most.bit_length())
    small = [name for name in asked if name not in _WIDE]
    each = 63 // bits
    words = [Word(tuple(small[low : low + each]), bits) for low in range(0, len(small), each)]
    return words + [Word((name,), 63) for name in asked if name in _WIDE]


def list_columns(words: Sequence[Word]) -> str:
    """SQL of what `read_result` reads of a group of rows: users' names as numbers, and their counters."""
    return ", ".join(f"array_agg({each})" for each in ("hashtextextended(user_id, 0)", *(w.write() for w in words)))


def read_rows(connection: Connection, counting: int, names: Iterable[str], most: int) -> dict[Place, Rows]:
    """Everyone who was counted."""
    words = pack(names, most)
    cursor = connection.cursor(binary=True)
    cursor.execute(
        f"SELECT stratum::int8, convert_to(arm, 'UTF8'), {list_columns(words)} FROM user_counts"
        " WHERE counting = %s AND requests > 0 GROUP BY stratum, arm".encode(),
        (counting,),
    )
    assert cursor.pgresult is not None
    return read_result(cursor.pgresult, range(cursor.pgresult.ntuples), words, at=0)


def read_result(result: PGresult, lines: Iterable[int], words: Sequence[Word], *, at: int) -> dict[Place, Rows]:
    """Lines of a binary result whose column `at` is the stratum, followed by the arm and `list_columns`."""
    found: dict[Place, Rows] = {}
    for line in lines:
        stratum = int.from_bytes(result.get_value(line, at) or b"", "big", signed=True)
        arrays = [_read_array(result.get_value(line, at + 2 + place)) for place in range(1 + len(words))]
        columns: dict[str, Column] = {}
        for word, values in zip(words, arrays[1:], strict=True):
            columns |= word.read(values)
        found[stratum, (result.get_value(line, at + 1) or b"").decode()] = Rows(arrays[0], columns, {})
    return found


def settle(found: Mapping[Place, Rows]) -> tuple[dict[Place, Rows], dict[int, int]]:
    """The users of every place but those of two arms, each with their time before; and how many in two arms there are,
    by stratum."""
    earlier = found.get(EARLIER)
    order = np.argsort(earlier.keys) if earlier is not None else None
    places = {place: rows for place, rows in found.items() if place != EARLIER}
    settled: dict[Place, Rows] = {}
    crossed: dict[int, int] = {}
    for stratum in sorted({stratum for stratum, _ in places}):
        here = {place: rows for place, rows in places.items() if place[0] == stratum}
        names, met = np.unique(np.concatenate([rows.keys for rows in here.values()]), return_counts=True)
        twice = names[met > 1]
        if len(twice):
            crossed[stratum] = len(twice)
            here = {place: rows.keep(~np.isin(rows.keys, twice)) for place, rows in here.items()}
        settled |= {place: _add_before(rows, earlier, order) for place, rows in here.items()}
    return settled, crossed


def _add_before(rows: Rows, earlier: Rows | None, order: NDArray[np.intp] | None) -> Rows:
    if earlier is None or order is None or not len(earlier.keys):
        return Rows(rows.keys, rows.columns, {name: np.zeros_like(values) for name, values in rows.columns.items()})
    at = order[np.minimum(np.searchsorted(earlier.keys, rows.keys, sorter=order), len(order) - 1)]
    known = earlier.keys[at] == rows.keys
    return Rows(rows.keys, rows.columns, {name: values[at] * known for name, values in earlier.columns.items()})


def _read_array(value: bytes | None) -> Column:
    """A binary int8[] without nulls: a header, then each element's length (4 bytes) and the element, big-endian."""
    element = np.dtype([("length", ">i4"), ("value", ">i8")])
    return np.frombuffer(value or b"", element, offset=_HEADER if value else 0)["value"].astype(np.int64)
