"""A feedback event as it is stored: its columns, canonical body and digest, made of plain fields in a few µs."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Mapping
from datetime import datetime
from functools import lru_cache
from typing import Any

import msgspec
import orjson

from flytewheel.records import FeedbackEvent, FeedbackType
from flytewheel.spool import join_row, split_columns
from router.log.bodies import dump, encode_slowly, is_name, is_plain, is_time, spell_time

COLUMNS = 'event_id, interaction_id, source, user_id, feedback_type, "timestamp", body, digest, metadata'
# Of a correction, an edit and a duel texts and figures are checked by the long way.
_SPECIAL = frozenset((FeedbackType.CORRECTION, FeedbackType.EDIT, FeedbackType.DUEL))
_PLAIN = {kind: kind.value for kind in FeedbackType if kind not in _SPECIAL}
_AMOUNTS = {"accepted": ("seconds",), "citation_click": ("count",), "read_time": ("read_s", "expected_s")}
_spell_time = lru_cache(maxsize=64)(spell_time)  # the events of a batch share the time of their arrival
_FIELDS = frozenset(FeedbackEvent.model_fields)
_RARE = frozenset(("corrected_response", "correction_type", "other_response", "preferred"))


class EventRow(msgspec.Struct, frozen=True, gc=False):
    """One event, checked.

    `proven`: its interaction exists for certain, stored or not yet. `source`: the stream of its interaction; empty:
    only the table knows it. `line`: as COPY takes it, where the stream is known; it is made where the event is, so that
    the thread that stores it has nothing to do for each: two threads that take turns at Python for every event lose
    half of the time to each other's caches. `dated`: its time is its sender's, and not that of its arrival here.
    """

    event_id: str
    interaction_id: str
    user_id: str
    feedback_type: str
    timestamp: datetime
    body: bytes
    digest: str
    metadata: bytes
    proven: bool
    source: str = ""
    line: bytes = b""
    dated: bool = True


def encode_event(fields: Mapping[str, Any], *, proven: bool = False, source: str = "", dated: bool = True) -> EventRow:
    """Checks an event and encodes it.

    Args:
        fields: of `FeedbackEvent`; what is None or missing is left out. `timestamp` is an aware datetime.
        proven: whether a receipt proves that its interaction exists, and is this user's.
        source: the stream of its interaction, where that is known.
        dated: whether its time is its sender's.

    Raises:
        FeedbackError: it is no event, contradicts itself, or holds what cannot be stored; the message says which.
    """
    data = _plain_fields(fields)
    row = encode_plain(data, proven=proven, source=source, dated=dated) if data is not None else None
    if row is not None:
        return row
    event, text, digest = encode_slowly(FeedbackEvent, fields)
    metadata = json.dumps(json.loads(text)["metadata"], ensure_ascii=False).encode() if event.metadata else b"{}"
    names = (event.event_id, event.interaction_id, event.user_id, event.feedback_type.value)
    return _make_row(*names, event.timestamp, text.encode(), digest, metadata, proven, source, dated)


def encode_plain(
    data: dict[str, Any], *, proven: bool, source: str, ordered: bool = False, dated: bool = True
) -> EventRow | None:
    """The row of fields that are what they must be, as `_plain_fields` gives them; None: only the long way can tell.

    `ordered`: as in `bodies.dump`.
    """
    body = dump(data, ordered=ordered)
    if body is None:
        return None
    given = data["metadata"]
    return _make_row(
        data["event_id"],
        data["interaction_id"],
        data["user_id"],
        data["feedback_type"],
        data["timestamp"],
        body,
        hashlib.sha256(body).hexdigest(),
        orjson.dumps(given) if given else b"{}",
        proven,
        source,
        dated,
    )


def copy_line(row: EventRow, source: str) -> bytes:
    """The event as a line of COPY, in the stream of its interaction."""
    if row.line and row.source == source:
        return row.line
    head = (row.event_id, row.interaction_id, source, row.user_id, row.feedback_type, _spell_time(row.timestamp))
    return join_row(head, row.body, row.digest.encode(), row.metadata)


def _make_row(
    event: str, interaction: str, user: str, kind: str, at: datetime, body: bytes, digest: str, metadata: bytes,
    proven: bool, source: str, dated: bool,
) -> EventRow:  # fmt: skip
    line = b""
    if source:
        line = join_row((event, interaction, source, user, kind, _spell_time(at)), body, digest.encode(), metadata)
    return EventRow(event, interaction, user, kind, at, body, digest, metadata, proven, source, line, dated)


def digest_undated(body: bytes) -> bytes:
    """What tells an event's body from others, its time left out: 16 bytes."""
    said = {key: value for key, value in json.loads(body).items() if key != "timestamp"}
    return hashlib.blake2b(json.dumps(said, sort_keys=True).encode(), digest_size=16).digest()


def spool_line(row: EventRow) -> bytes:
    """The event as it waits in the spool: the time in its first column is when it was laid there, in seconds."""
    return b"%d\t" % time.time() + copy_line(row, row.source)


def read_spool_line(line: bytes) -> tuple[int, EventRow]:
    """When a waiting event was laid down, in seconds since 1970, and the event, as proven."""
    when, event, interaction, source, user, kind, stamp, body, digest, metadata = split_columns(line)
    names = (event.decode(), interaction.decode(), user.decode(), kind.decode())
    at = datetime.fromisoformat(stamp.decode())
    own = line.partition(b"\t")[2] if source else b""
    row = EventRow(*names, at, body, digest.decode(), metadata, True, source.decode(), own)
    return int(when), row


def _plain_fields(fields: Mapping[str, Any]) -> dict[str, Any] | None:
    """The fields as they are dumped; None where only the long way can tell."""
    data = {key: value for key, value in fields.items() if value is not None}
    if not data.keys() <= _FIELDS:
        data = {key: value for key, value in data.items() if key in _FIELDS}
    said = data.get("feedback_type")
    kind = _PLAIN.get(said) if isinstance(said, str) else None  # type: ignore[call-overload]
    if kind is None or not is_time(data.get("timestamp")) or not _RARE.isdisjoint(data):
        return None
    if not (is_name(data.get("event_id")) and is_name(data.get("interaction_id")) and is_name(data.get("user_id"))):
        return None
    data["feedback_type"] = kind
    rating = data.get("rating")
    if (rating is None) is (kind == "rating"):
        return None
    if rating is not None:
        if type(rating) not in (int, float) or not 1 <= rating <= 5:  # a bool is neither
            return None
        data["rating"] = float(rating)
    if "comment" in data and type(data["comment"]) is not str:
        return None
    metadata = data.setdefault("metadata", {})
    if type(metadata) is not dict or not is_plain(metadata):
        return None
    for key in _AMOUNTS.get(kind, ()):
        amount = metadata.get(key)
        if amount is not None and (type(amount) not in (int, float) or amount < 0):
            return None
    return data
