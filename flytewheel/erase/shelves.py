"""Data sets without a person: written anew under a new digest, the old one tombstoned.

A digest names rows that never change, so the rows that are left get another one: of the old digest and their content.
The same erasure of the same data set therefore ends in the same digest, whoever is killed on the way. The new data set
is complete before the tombstone goes up, and the tombstone is up before the first file of the old one goes: at every
moment exactly one of both is found.

The card's counts are taken anew from the rows. Its examples (of what curation dropped, and of comments) are texts that
name nobody, so all of them go, also from data sets whose window only met the person without keeping a row.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from flytewheel.dataset import (
    Dataset,
    DatasetCard,
    describe_pairs,
    digest_content,
    list_files,
    part_file,
    read_rows,
    write_card,
    write_rows,
)
from flytewheel.dataset.layout import CARD, LAYOUT, QUARANTINED
from flytewheel.erase.needles import Needles
from flytewheel.records import digest as digest_of
from flytewheel.tombstones import PREFIX, Tombstone, read_tombstone, tombstone_key, write_tombstone
from registry.store import ObjectStore

_COUNTED = ("sft", "preference", "unpaired")  # kinds whose users a card counts
TOPICS = ("topics", "topics_before", "topics_after")


@dataclass(frozen=True, slots=True)
class Rewritten:
    """A data set that was written anew, and how many rows went."""

    digest: str
    successor: str
    rows: int


def rewrite_dataset(
    store: ObjectStore, home: Path, digest: str, needles: Needles, *, erasure: str, now: datetime
) -> Rewritten:
    """Takes the person's rows out of a data set of the store; goes on where an attempt before was killed.

    Raises:
        DatasetError: it cannot be read.
        StoreError: the store is away.
    """
    with tempfile.TemporaryDirectory(prefix="flytewheel-erase-") as scratch:
        old, new = Path(scratch) / "old", Path(scratch) / "new"
        for key in store.list(f"{PREFIX}{digest}/"):
            store.get_file(key, old / key.removeprefix(f"{PREFIX}{digest}/"))
        card, gone = write_without(old, new, needles)
        for path in list_files(new):  # the card last
            store.put_file(f"{PREFIX}{card.digest}/{path.relative_to(new).as_posix()}", path)
    write_tombstone(store, Tombstone(digest, card.digest, erasure, now.isoformat()))
    clear_tombstoned(store, home, digest)
    return Rewritten(digest, card.digest, gone)


def clear_tombstoned(store: ObjectStore, home: Path, digest: str) -> None:
    """Removes what is left of a data set whose tombstone is up, its card first; does nothing where none is."""
    if read_tombstone(store, digest) is None:
        return
    keys = [key for key in store.list(f"{PREFIX}{digest}/") if key != tombstone_key(digest)]
    for key in sorted(keys, key=lambda key: not key.endswith(f"/{CARD}")):
        store.delete(key)
    shutil.rmtree(home / "datasets" / digest, ignore_errors=True)


def write_without(old: Path, new: Path, needles: Needles) -> tuple[DatasetCard, int]:
    """Writes the data set of folder `old` into `new` without the person's rows; gives its card and the rows that went.

    Raises:
        DatasetError: it cannot be read.
    """
    data, person = Dataset(old), needles.person
    gone: Counter[str] = Counter()
    counts: dict[str, dict[str, int]] = {}
    users: dict[str, set[str]] = {}
    for kind, parts in LAYOUT.items():
        for part in parts:
            counted = users.setdefault(part, set()) if kind in _COUNTED else set()
            rows = _keep(data.rows(kind, part), needles, gone, counted)
            count = write_rows(part_file(new, kind, part), kind, rows)
            if part in data.card.counts.get(kind, {}):
                counts.setdefault(kind, {})[part] = count
    held = (row for row in data.quarantined() if not _drop(person.owns(row), gone))
    write_rows(part_file(new, QUARANTINED), QUARANTINED, held)
    content = digest_content(new)
    card = clean_card(data.card, needles)
    known = data.card.users
    card = replace(
        card,
        digest=digest_of({"erased from": data.card.digest, "content": content}),
        content_digest=content,
        counts={**card.counts, **counts},
        users={part: min(known[part], len(users.get(part, ()))) for part in known},
        topics=_count_topics(new, LAYOUT["sft"], data.card.topics),
        topics_after=_count_topics(new, ("train",), data.card.topics_after),
        pairs=describe_pairs(_list_pairs(new)) if data.card.pairs else {},
    )
    write_card(new, card)
    return card, gone.total()


def clean_card(card: DatasetCard, needles: Needles) -> DatasetCard:
    """A card without examples, and without whatever else is the person's (a topic named by their words)."""
    bare = drop_examples(card.to_json(), needles)
    return replace(
        card,
        steps=tuple(replace(step, examples={}) for step in card.steps),
        comments=bare["comments"],
        **{name: bare[name] for name in TOPICS},
    )


def drop_examples(report: dict[str, Any], needles: Needles) -> dict[str, Any]:
    """A card as JSON, or the report of the station that made it, without the texts that it quotes, and without topics
    and themes that are named by the person's words.
    """
    found: dict[str, Any] = json.loads(json.dumps(report))
    for step in found.get("steps", ()):
        step["examples"] = {}
    comments = found.get("comments")
    if isinstance(comments, dict):
        comments["themes"] = [
            {**theme, "example": ""}
            for theme in comments.get("themes", ())
            if not needles.names(str(theme.get("theme", "")))
        ]
    for name in TOPICS:
        counts: Counter[str] = Counter()
        for topic, count in found.get(name, {}).items():
            counts["unlabelled" if needles.names(topic) else topic] += count
        if name in found:
            found[name] = dict(sorted(counts.items()))
    return found


def meets(card: DatasetCard, sources: Iterable[str], times: tuple[datetime, datetime] | None) -> bool:
    """Whether the window of a data set may have met the person: one of their streams, at one of their times."""
    if not set(card.sources) & set(sources):
        return False
    if card.time_range is None or times is None:
        return True
    first, last = (datetime.fromisoformat(each) for each in card.time_range)
    return first <= times[1] and times[0] <= last


def clean_quotes(store: ObjectStore, home: Path, digest: str, needles: Needles) -> bool:
    """Takes the examples out of the card of a data set that holds no row of the person; its rows and digest stay."""
    with tempfile.TemporaryDirectory(prefix="flytewheel-erase-") as scratch:
        folder = Path(scratch)
        for key in store.list(f"{PREFIX}{digest}/"):
            store.get_file(key, folder / key.removeprefix(f"{PREFIX}{digest}/"))
        card = Dataset(folder).card
        clean = clean_card(card, needles)
        if clean == card:
            return False
        write_card(folder, clean)
        for path in list_files(folder):
            if path.suffix != ".parquet":
                store.put_file(f"{PREFIX}{digest}/{path.relative_to(folder).as_posix()}", path)
    shutil.rmtree(home / "datasets" / digest, ignore_errors=True)  # it comes again when it is asked for
    return True


def _keep(rows: Iterable[Any], needles: Needles, gone: Counter[str], users: set[str]) -> Iterator[Any]:
    for row in rows:
        mine = needles.person.owns(
            {"user": row.user, "interactions": row.interactions, "events": row.events}
        ) or _quotes(row, needles)
        if _drop(mine, gone):
            continue
        users.add(row.user)
        yield replace(row, topic="unlabelled") if needles.names(row.topic) else row


def _quotes(row: Any, needles: Needles) -> bool:
    """Whether a row that names nobody (written by hand, or by a paraphraser) quotes the person."""
    if row.interactions or row.events:
        return False
    texts = [turn.content for turn in getattr(row, "prompt", None) or row.messages]
    texts += [str(getattr(row, name, "")) for name in ("completion", "chosen", "rejected", "expected", "note")]
    return needles.finds("\n".join(texts))


def _drop(mine: bool, gone: Counter[str]) -> bool:
    gone["rows"] += mine
    return mine


def _count_topics(folder: Path, parts: Iterable[str], like: dict[str, int]) -> dict[str, int]:
    if not like:
        return {}
    counts = Counter(row.topic for part in parts for row in _read(folder, "sft", part))
    return dict(sorted(counts.items()))


def _list_pairs(folder: Path) -> Iterator[Any]:
    return (row for part in LAYOUT["preference"] for row in _read(folder, "preference", part))


def _read(folder: Path, kind: str, part: str) -> Iterator[Any]:
    file = part_file(folder, kind, part)
    return read_rows(file, kind) if file.is_file() else iter(())
