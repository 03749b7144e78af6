"""Gives drafts their texts: only here, and only for rows that were selected, are texts read again.

Rows come in the order of their ids. A row names the interactions and the events that it comes from; events in
quarantine are none. Rows are put together as Arrow columns, out of those of the prepared partitions: as records and
mappings they cost three times as much.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from flytewheel.curation.draft import Draft
from flytewheel.curation.judged import Table
from flytewheel.dataset import SLICE, encode_rows, part_file, schema_of, write_batches

_AT_ONCE = 100_000  # drafts whose texts are in memory: about 500 MB at 200 words an answer
_SAID = ("response", "correction", "other")
_TEXTS = ("before", "query", *_SAID)
_OLDEST = pl.CompatLevel.oldest()  # 64-bit offsets: texts of one chunk may pass 2 GB

_Places = NDArray[np.int64]
_Parts = Mapping[str, Mapping[str, Sequence[Draft]]]  # kind → part → rows


def write_parts(
    folder: Path, rows: _Parts, table: Table, *, held: frozenset[str], workers: int = 1
) -> dict[str, dict[str, int]]:
    """Writes the rows of every kind and part.

    Args:
        folder: the data set.
        rows: kind → part → what was selected.
        table: where the texts are.
        held: ids of events in quarantine.
        workers: threads that write; each holds texts of its own.

    Returns:
        How many rows there are: kind → part → number.
    """
    # Files are read as a whole for whatever is wanted of them: all small parts share one reading.
    small = [(kind, part) for kind, parts in rows.items() for part in parts if part != "train"]
    large = [(kind, "train") for kind, parts in rows.items() if "train" in parts]

    def write_small() -> list[int]:
        texts = _Texts(table, [draft for kind, part in small for draft in rows[kind][part]], held)
        return [
            write_batches(part_file(folder, *each), each[0], texts.build(_get(rows, each), each[0])) for each in small
        ]

    def write_large(each: tuple[str, str]) -> int:
        return write_batches(part_file(folder, *each), each[0], _build_large(_get(rows, each), each[0], table, held))

    sizes: dict[str, dict[str, int]] = {kind: {} for kind in rows}
    with ThreadPoolExecutor(workers) as pool:
        counts = pool.map(write_large, large)
        others = pool.submit(write_small)
        for (kind, part), count in chain(zip(large, counts, strict=True), zip(small, others.result(), strict=True)):
            sizes[kind][part] = count
    return sizes


def _get(rows: _Parts, each: tuple[str, str]) -> list[Draft]:
    return sorted(rows[each[0]][each[1]], key=lambda draft: draft.id)


def _build_large(drafts: Sequence[Draft], kind: str, table: Table, held: frozenset[str]) -> Iterator[pa.RecordBatch]:
    for start in range(0, len(drafts), _AT_ONCE):
        chunk = drafts[start : start + _AT_ONCE]
        yield from _Texts(table, chunk, held).build(chunk, kind)


class _Texts:
    """Texts of the interactions that some drafts show or were made by."""

    def __init__(self, table: Table, drafts: Sequence[Draft], held: frozenset[str]) -> None:
        shown = {draft.shown for draft in drafts} | {place for draft in drafts for place, _ in draft.texts}
        self._shown = np.array(sorted(shown - {-1}), dtype=np.int64)
        frame = table.fetch(self._shown, _TEXTS)
        self._before = frame["before"].to_arrow(compat_level=_OLDEST)
        self._texts = {name: frame[name].to_arrow(compat_level=_OLDEST) for name in _TEXTS[1:]}
        self._judged = np.array(sorted({place for draft in drafts for place in draft.judged}), dtype=np.int64)
        sources = table.fetch(self._judged, ("id", "event_ids"))
        self._ids, self._events = (sources[name].to_arrow(compat_level=_OLDEST) for name in ("id", "event_ids"))
        self._held = pa.array(sorted(held), pa.large_string())

    def build(self, drafts: Sequence[Draft], kind: str) -> Iterator[pa.RecordBatch]:
        """The rows of `drafts`, in their order, `SLICE` at a time."""
        for start in range(0, len(drafts), SLICE):
            yield self._build(drafts[start : start + SLICE], kind)

    def _build(self, drafts: Sequence[Draft], kind: str) -> pa.RecordBatch:
        fresh = [draft for draft in drafts if draft.earlier is None]
        earlier = [draft.earlier for draft in drafts if draft.earlier is not None]
        if not earlier:
            return self._build_fresh(fresh, kind)
        parts = [*([self._build_fresh(fresh, kind)] if fresh else []), *encode_rows(earlier, kind)]
        order = np.argsort([draft.earlier is not None for draft in drafts], kind="stable")
        mixed = pa.Table.from_batches(parts).take(pa.array(np.argsort(order)))
        return mixed.combine_chunks().to_batches()[0]

    def _build_fresh(self, drafts: Sequence[Draft], kind: str) -> pa.RecordBatch:
        columns: dict[str, Any] = {
            "prompt": self._ask(drafts),
            "interactions": self._list_sources(drafts),
            "events": self._list_events(drafts),
        }
        for place, name in enumerate(("chosen", "rejected") if kind == "preference" else ("completion",)):
            columns[name] = self._say([draft.texts[place] for draft in drafts])
        schema = schema_of(kind)
        arrays = [
            columns[field.name].cast(field.type)
            if field.name in columns
            else pa.array([getattr(draft, field.name) for draft in drafts], field.type)
            for field in schema
        ]
        return pa.record_batch(arrays, schema=schema)

    def _find(self, places: Sequence[int]) -> _Places:
        return np.searchsorted(self._shown, places)

    def _say(self, texts: Sequence[tuple[int, str]]) -> Any:
        """The text at each place and column."""
        rows = self._find([place for place, _ in texts])
        column = np.array([_SAID.index(name) for _, name in texts])
        said = pa.concat_arrays([self._texts[name].take(rows[column == n]) for n, name in enumerate(_SAID)])
        return said.take(np.argsort(np.argsort(column, kind="stable")))

    def _ask(self, drafts: Sequence[Draft]) -> Any:
        """What stands before each query, and the query, which a paraphrase brings along."""
        rows = self._find([draft.shown for draft in drafts])
        own = np.array([draft.query is not None for draft in drafts])
        asked = pa.concat_arrays(
            [
                self._texts["query"].take(rows[~own]),
                pa.array([draft.query for draft in drafts if draft.query is not None], pa.large_string()),
            ]
        ).take(np.argsort(np.argsort(own, kind="stable")))
        before = self._before.take(rows)
        turns = before.flatten()
        ends = np.cumsum(before.value_lengths().to_numpy())
        last = ends + np.arange(len(drafts))  # where the queries come among all turns
        order = np.full(len(turns) + len(drafts), -1)
        order[last] = len(turns) + np.arange(len(drafts))
        order[order < 0] = np.arange(len(turns))
        users = pa.repeat(pa.scalar("user", pa.large_string()), len(drafts))
        flat = [
            pa.concat_arrays([turns.field(name), more]).take(order)
            for name, more in (("role", users), ("content", asked))
        ]
        return _nest(last + 1, pa.StructArray.from_arrays(flat, ["role", "content"]))

    def _list_sources(self, drafts: Sequence[Draft]) -> Any:
        return _nest(np.cumsum([len(draft.judged) for draft in drafts]), self._ids.take(self._place(drafts)))

    def _list_events(self, drafts: Sequence[Draft]) -> Any:
        found = self._events.take(self._place(drafts))
        names = found.flatten()
        kept = pc.invert(pc.is_in(names, self._held))
        counts = np.concatenate(([0], np.cumsum(kept.to_numpy(zero_copy_only=False))))
        ends = np.concatenate(([0], np.cumsum(found.value_lengths().to_numpy())))
        ends = counts[ends][np.cumsum([len(draft.judged) for draft in drafts])]
        return _nest(ends, names.filter(kept))

    def _place(self, drafts: Sequence[Draft]) -> _Places:
        places = np.array([place for draft in drafts for place in draft.judged], dtype=np.int64)
        return np.searchsorted(self._judged, places)


def _nest(ends: NDArray[np.int64], flat: Any) -> Any:
    """Lists that end at `ends` of what is strung together in `flat`."""
    return pa.LargeListArray.from_arrays(pa.array(np.concatenate(([0], ends)), pa.int64()), flat)
