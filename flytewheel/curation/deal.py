"""Deals a window into hash partitions, so that each can be prepared by itself, on one machine or many.

An interaction lies in the partition of its user, and its events lie with it: sessions and conversations never cross
partitions. A window is dealt into as many buckets as keep one in memory with ease, and buckets into shares, one for
each map task. Neither number changes the data set: whatever joins rows across buckets sorts them first.
"""

from __future__ import annotations

import hashlib
import json
from array import array
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
import orjson

from flytewheel.curation.mirrors import parse_record
from flytewheel.errors import DatasetError
from flytewheel.records import FeedbackEvent, Interaction, canonical_json

ROWS_A_BUCKET = 20_000
MAX_BUCKETS = 200  # open files
DEALT = "dealt.json"
INTERACTIONS, EVENTS = "interactions.jsonl", "feedback.jsonl"
# A late event's interaction, and what was said of it before, come along (`feedback.window`).
_FILES = ((INTERACTIONS, "earlier_interactions.jsonl"), (EVENTS, "earlier_feedback.jsonl"))
_RECORDS: tuple[tuple[Any, str], ...] = ((Interaction, "interaction_id"), (FeedbackEvent, "event_id"))

FindBucket = Callable[[dict[str, Any]], int]


@dataclass(frozen=True, slots=True)
class Dealt:
    """What was dealt: the window's own facts, how many different lines of each kind there were, and their digest."""

    window: dict[str, Any]
    interactions: int
    events: int
    digest: str


def deal_window(window_dir: Path, out: Path, *, shares: int = 1) -> list[Path]:
    """Deals the window in `window_dir` into `shares` folders under `out`.

    Each share holds `dealt.json` and folders of buckets (`0000`, …) with `interactions.jsonl` and `feedback.jsonl`.

    Raises:
        DatasetError: the window cannot be read.
    """
    window = _read_facts(window_dir)
    rows = sum(1 for name in _FILES[0] for _ in _read_lines(window_dir / name, needed=name == INTERACTIONS))
    buckets = min(MAX_BUCKETS, max(shares, 1 + rows // ROWS_A_BUCKET))
    places = [out / f"share-{bucket % shares:03d}" / f"{bucket:04d}" for bucket in range(buckets)]
    for place in places:
        place.mkdir(parents=True)
    home: dict[str, int] = {}

    def find_user(record: dict[str, Any]) -> int:
        bucket = _draw(_text(record, "user_id"), buckets)
        home.setdefault(_text(record, "interaction_id"), bucket)
        return bucket

    def find_answer(record: dict[str, Any]) -> int:
        name = _text(record, "interaction_id")
        return home[name] if name in home else _draw(name, buckets)

    interactions, settled = _deal(window_dir, places, 0, find_user)
    home |= settled
    events, _ = _deal(window_dir, places, 1, find_answer)
    seen = hashlib.sha256(b"".join(sorted(interactions)) + b"\n" + b"".join(sorted(events))).hexdigest()
    dealt = Dealt(window, len(interactions), len(events), seen)
    folders = [out / f"share-{share:03d}" for share in range(shares)]
    for folder in folders:
        folder.mkdir(exist_ok=True)  # more shares than buckets
        (folder / DEALT).write_bytes(canonical_json(dealt))
    return folders


def read_dealt(share: Path) -> Dealt:
    """Reads what `deal_window` says of the window in each share."""
    return Dealt(**json.loads((share / DEALT).read_text(encoding="utf-8")))


def _read_facts(folder: Path) -> dict[str, Any]:
    try:
        window = json.loads((folder / "window.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DatasetError(f"{folder}: no readable window.json ({error}); write the window again") from None
    if not isinstance(window, dict):
        raise DatasetError(f"{folder}/window.json: expected an object; write the window again")
    return window


def _read_lines(path: Path, *, needed: bool) -> Iterator[bytes]:
    if not needed and not path.exists():
        return
    try:
        with path.open("rb") as stream:
            for line in stream:
                if text := line.strip():
                    yield text
    except OSError as error:
        raise DatasetError(f"{path}: {error.strerror}; write the window again") from None


def _deal(window_dir: Path, places: list[Path], kind: int, find: FindBucket) -> tuple[set[bytes], dict[str, int]]:
    """Writes each different line of one kind into its bucket.

    An id that came into several buckets is dealt again: all of its lines lie where the one that counts lies, so that
    the others are counted there, whatever the order of lines.

    Returns:
        The lines' digests, and where ids were dealt again.
    """
    model, key = _RECORDS[kind]
    seen, disputed = _write(window_dir, places, kind, find)
    if not disputed:
        return seen, {}
    best: dict[str, tuple[bytes, int]] = {}
    for line in (line for name in _FILES[kind] for line in _read_lines(window_dir / name, needed=False)):
        record = _parse(line)
        if record is None or _mark_id(name := _text(record, key)) not in disputed:
            continue
        if name not in best or line < best[name][0]:
            with suppress(ValueError):
                parse_record(line, model)
                best[name] = line, find(record)
    settled = {name: bucket for name, (_, bucket) in best.items()}
    _write(
        window_dir, places, kind,
        lambda record: settled[name] if (name := _text(record, key)) in settled else find(record),
    )  # fmt: skip
    return seen, settled


def _write(window_dir: Path, places: list[Path], kind: int, find: FindBucket) -> tuple[set[bytes], set[int]]:
    """Writes lines where `find` says; returns their digests, and the marks of ids that came into several buckets."""
    own, earlier = _FILES[kind]
    key = _RECORDS[kind][1]
    seen: set[bytes] = set()
    ids, where = array("Q"), array("H")
    with ExitStack() as stack:
        streams: list[IO[bytes]] = [stack.enter_context((place / own).open("wb")) for place in places]
        for name in (own, earlier):
            for line in _read_lines(window_dir / name, needed=name == own):
                mark = hashlib.blake2b(line, digest_size=16).digest()
                if mark in seen:
                    continue
                seen.add(mark)
                record = _parse(line)
                bucket = int.from_bytes(mark[:8]) % len(places) if record is None else find(record)
                if record is not None and len(places) > 1:
                    ids.append(_mark_id(_text(record, key)))
                    where.append(bucket)
                streams[bucket].write(line + b"\n")
    return seen, _find_disputed(ids, where)


def _find_disputed(ids: array[int], where: array[int]) -> set[int]:
    if not len(ids):
        return set()
    marks, buckets = np.array(ids, dtype=np.uint64), np.array(where, dtype=np.uint16)
    order = np.lexsort((buckets, marks))
    marks, buckets = marks[order], buckets[order]
    return set(marks[1:][(marks[1:] == marks[:-1]) & (buckets[1:] != buckets[:-1])].tolist())


def _parse(line: bytes) -> dict[str, Any] | None:
    try:
        record = orjson.loads(line)
    except ValueError:
        return None
    return record if isinstance(record, dict) else None


def _text(record: dict[str, Any], key: str) -> str:
    return str(record.get(key))


def _draw(name: str, buckets: int) -> int:
    return _mark_id(name) % buckets


def _mark_id(name: str) -> int:
    return int.from_bytes(hashlib.blake2b(name.encode(errors="replace"), digest_size=8).digest())
