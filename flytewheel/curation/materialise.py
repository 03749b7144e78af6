"""Gives drafts their texts: only here, and only for rows that were selected, are texts read again.

Rows come in the order of their ids. A row names the interactions and the events that it comes from; events in
quarantine are none.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from flytewheel.curation.draft import Draft
from flytewheel.curation.judged import Table
from flytewheel.records import Preference, SftRow, Unpaired

Row = SftRow | Preference | Unpaired | dict[str, Any]

_AT_ONCE = 200_000  # drafts whose texts are in memory: about 1 GB at 200 words an answer
_COLUMNS = ("id", "before", "query", "response", "correction", "other", "event_ids")


def build_parts(
    rows: Mapping[str, Mapping[str, Sequence[Draft]]], table: Table, *, held: frozenset[str]
) -> Iterator[tuple[str, str, Iterable[Row]]]:
    """Builds the rows of every kind and part; each part must be taken before the next.

    Args:
        rows: kind → part → what was selected.
        table: where the texts are.
        held: ids of events in quarantine.

    Yields:
        Kind, part and its rows: records of an earlier data set as they are, others as mappings with their fields.
    """
    # Files are read as a whole for whatever is wanted of them: all small parts share one reading.
    small = [(kind, part) for kind, parts in rows.items() for part in parts if part != "train"]
    texts = _Texts(table, [draft for kind, part in small for draft in rows[kind][part]], held)
    for kind, part in small:
        yield kind, part, (_build(draft, kind, texts) for draft in _sort(rows[kind][part]))
    del texts
    for kind, parts in rows.items():
        if "train" in parts:
            yield kind, "train", _build_large(parts["train"], kind, table, held)


def _build_large(drafts: Sequence[Draft], kind: str, table: Table, held: frozenset[str]) -> Iterator[Row]:
    ordered = _sort(drafts)
    for start in range(0, len(ordered), _AT_ONCE):
        chunk = ordered[start : start + _AT_ONCE]
        texts = _Texts(table, chunk, held)
        for draft in chunk:
            yield _build(draft, kind, texts)


def _sort(drafts: Sequence[Draft]) -> list[Draft]:
    return sorted(drafts, key=lambda draft: draft.id)


class _Texts:
    """Texts of the interactions that some drafts show or were made by."""

    def __init__(self, table: Table, drafts: Sequence[Draft], held: frozenset[str]) -> None:
        shown = sorted({place for draft in drafts for place in (draft.shown, *(at for at, _ in draft.texts))} - {-1})
        rows = table.fetch(shown, _COLUMNS)
        self._row = {place: row for row, place in enumerate(shown)}
        self._held = held
        others = sorted({place for draft in drafts for place in draft.judged} - self._row.keys())
        sources = table.fetch(others, ("id", "event_ids")) if others else rows.head(0).select("id", "event_ids")
        self._sources: dict[int, tuple[str, list[str]]] = dict(zip(others, sources.iter_rows(), strict=True))
        self._sources |= zip(shown, rows.select("id", "event_ids").iter_rows(), strict=True)
        self._columns = {name: rows[name].to_list() for name in ("before", "query", "response", "correction", "other")}

    def read(self, place: int, column: str) -> Any:
        return self._columns[column][self._row[place]]

    def read_prompt(self, draft: Draft) -> list[dict[str, str]]:
        query = self.read(draft.shown, "query") if draft.query is None else draft.query
        return [*self.read(draft.shown, "before"), {"role": "user", "content": query}]

    def list_events(self, draft: Draft) -> list[str]:
        return [event for place in draft.judged for event in self._sources[place][1] if event not in self._held]

    def list_interactions(self, draft: Draft) -> list[str]:
        return [self._sources[place][0] for place in draft.judged]


def _build(draft: Draft, kind: str, texts: _Texts) -> Row:
    if draft.earlier is not None:
        return draft.earlier
    first, *rest = (texts.read(place, column) for place, column in draft.texts)
    row = {
        "id": draft.id,
        "user": draft.user,
        "topic": draft.topic,
        "prompt": texts.read_prompt(draft),
        "interactions": texts.list_interactions(draft),
        "events": texts.list_events(draft),
        "weight": draft.weight,
    }
    if kind == "preference":
        row |= {"chosen": first, "rejected": rest[0], "margin": draft.margin, "similarity": draft.similarity}
        return {**row, "source": draft.source}
    if kind == "unpaired":
        return {**row, "completion": first, "label": draft.label}
    row |= {"completion": first, "reward": draft.reward, "quality": draft.quality, "surprise": draft.surprise}
    return {**row, "source": draft.source}
