"""A feedback event as it is stored: its columns, canonical body and digest, made of plain fields in a few µs."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Mapping
from datetime import datetime
from typing import Any, NamedTuple

import orjson

from flytewheel.records import FeedbackEvent, FeedbackType
from flytewheel.spool import join_row, split_columns
from router.log.bodies import dump, encode_slowly, is_name, is_plain, is_time, spell_time

COLUMNS = 'event_id, interaction_id, source, user_id, feedback_type, "timestamp", body, digest, metadata'
_KINDS = {kind.value: kind for kind in FeedbackType}
# Their texts and figures are checked by the long way.
_SPECIAL = frozenset((FeedbackType.CORRECTION, FeedbackType.EDIT, FeedbackType.DUEL))
_AMOUNTS = {"accepted": ("seconds",), "citation_click": ("count",), "read_time": ("read_s", "expected_s")}
_FIELDS = frozenset(FeedbackEvent.model_fields)
_RARE = ("corrected_response", "correction_type", "other_response", "preferred")


class EventRow(NamedTuple):
    """One event, checked. `proven`: its interaction exists for certain, stored or not yet."""

    event_id: str
    interaction_id: str
    user_id: str
    feedback_type: str
    timestamp: datetime
    body: bytes
    digest: str
    metadata: bytes
    proven: bool


def encode_event(fields: Mapping[str, Any], *, proven: bool = False) -> EventRow:
    """Checks an event and encodes it.

    Args:
        fields: of `FeedbackEvent`; what is None or missing is left out. `timestamp` is an aware datetime.
        proven: whether a receipt proves that its interaction exists, and is this user's.

    Raises:
        FeedbackError: it is no event, contradicts itself, or holds what cannot be stored; the message says which.
    """
    data = _plain_fields(fields)
    body = dump(data) if data is not None else None
    if body is None or data is None:
        event, text, digest = encode_slowly(FeedbackEvent, fields)
        metadata = json.dumps(json.loads(text)["metadata"], ensure_ascii=False).encode() if event.metadata else b"{}"
        kind, when = event.feedback_type.value, event.timestamp
        return EventRow(
            event.event_id, event.interaction_id, event.user_id, kind, when, text.encode(), digest, metadata, proven
        )
    given = data["metadata"]
    return EventRow(
        data["event_id"],
        data["interaction_id"],
        data["user_id"],
        data["feedback_type"],
        data["timestamp"],
        body,
        hashlib.sha256(body).hexdigest(),
        orjson.dumps(given) if given else b"{}",
        proven,
    )


def copy_line(row: EventRow, source: str) -> bytes:
    """The event as a line of COPY, in the stream of its interaction."""
    when = spell_time(row.timestamp)
    head = (row.event_id, row.interaction_id, source, row.user_id, row.feedback_type, when)
    return join_row(head, row.body, row.digest.encode(), row.metadata)


def spool_line(row: EventRow) -> bytes:
    """The event as it waits in the spool: the time in its first column is when it was laid there, in seconds."""
    return b"%d\t" % time.time() + copy_line(row, "")


def read_spool_line(line: bytes) -> tuple[int, EventRow]:
    """When a waiting event was laid down, in seconds since 1970, and the event, as proven."""
    when, event, interaction, _, user, kind, stamp, body, digest, metadata = split_columns(line)
    names = (event.decode(), interaction.decode(), user.decode(), kind.decode())
    row = EventRow(*names, datetime.fromisoformat(stamp.decode()), body, digest.decode(), metadata, True)
    return int(when), row


def _plain_fields(fields: Mapping[str, Any]) -> dict[str, Any] | None:
    """The fields as they are dumped; None where only the long way can tell."""
    data = {key: value for key, value in fields.items() if value is not None}
    if not data.keys() <= _FIELDS:
        data = {key: value for key, value in data.items() if key in _FIELDS}
    if not (is_name(data.get("event_id")) and is_name(data.get("interaction_id")) and is_name(data.get("user_id"))):
        return None
    said = data.get("feedback_type")
    kind = _KINDS.get(said) if isinstance(said, str) else None
    if kind is None or kind in _SPECIAL or not is_time(data.get("timestamp")) or any(key in data for key in _RARE):
        return None
    data["feedback_type"] = kind.value
    rating = data.get("rating")
    if (rating is None) is (kind is FeedbackType.RATING):
        return None
    if rating is not None and (type(rating) is bool or type(rating) not in (int, float) or not 1 <= rating <= 5):
        return None
    if rating is not None:
        data["rating"] = float(rating)
    if "comment" in data and type(data["comment"]) is not str:
        return None
    metadata = data.setdefault("metadata", {})
    if type(metadata) is not dict or not is_plain(metadata):
        return None
    for key in _AMOUNTS.get(kind.value, ()):
        amount = metadata.get(key)
        if amount is not None and (type(amount) not in (int, float) or amount < 0):
            return None
    return data
