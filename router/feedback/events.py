"""Turns what was sent into events as they are stored: columns, canonical body, digest. Some 6 µs an event.

The body is byte for byte what `flytewheel.feedback.logs.encode_body` makes of the same event (tests/router/feedback
hold them together), so that an export, an import and a window see no difference; whatever is unusual (a large or tiny
number, deep metadata) takes that longer road.

An id that the client does not give is made of what the event says, its time included where it has one. A time that
lies before the answer or ahead of our clock is a wrong clock and counts as not given; what has no time gets ours.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import orjson

from flytewheel.errors import FeedbackError
from flytewheel.feedback.logs import encode_body, find_contradiction
from flytewheel.feedback.signals import Signal, find_signals
from flytewheel.records import FeedbackEvent, FeedbackType
from router.feedback.wire import Item
from router.log import EventRow
from router.receipts import Receipt

SKEW = timedelta(minutes=5)  # by which clocks may differ before one of them is wrong

_KINDS = {kind.value: kind for kind in FeedbackType}
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_PLAIN_INT = 2**53
_DEPTH = 8


class Made(NamedTuple):
    """One event to store, with what it is scored by (named as in FeedbackEvent).

    `dated`: the time is the client's, and belongs to what a repeat must say again. `observed`: it comes from a view.
    """

    row: EventRow
    given: Receipt
    feedback_type: FeedbackType
    rating: float | None
    preferred: str | None
    metadata: Mapping[str, Any]
    dated: bool
    observed: bool = False


def make_event(item: Item, given: Receipt, now: datetime) -> Made:
    """The event that a reaction becomes.

    Raises:
        FeedbackError: it contradicts itself or holds what cannot be stored; one line.
    """
    assert item.feedback_type is not None
    kind = _KINDS[item.feedback_type]
    wrong = find_contradiction(kind, item)
    if wrong is not None:
        raise FeedbackError(f"{wrong} (feedback_type {kind.value})")
    at = _settle_time(item.timestamp, given, now)
    fields = {
        "comment": item.comment,
        "corrected_response": item.corrected_response,
        "correction_type": item.correction_type,
        "feedback_type": kind.value,
        "interaction_id": item.interaction_id,
        "metadata": item.metadata,
        "other_response": item.other_response,
        "preferred": item.preferred,
        "rating": item.rating,
        "user_id": given.user,
    }
    row = _encode(fields, item.event_id, at or now, dated=at is not None)
    return Made(row, given, kind, item.rating, item.preferred, item.metadata, at is not None)


def make_observed(item: Item, given: Receipt, question: str | None) -> Iterator[Made]:
    """The events that a view becomes; their ids and times are the same for the same view, whenever it is sent."""
    for signal in find_signals(item.to_view(question)):
        fields = {
            "feedback_type": signal.kind.value,
            "interaction_id": item.interaction_id,
            "metadata": signal.metadata,
            "user_id": given.user,
        }
        at = _EPOCH + timedelta(milliseconds=given.given_ms + signal.at_ms)
        row = _encode(fields, name_signal(item.interaction_id, signal), at, dated=True)
        yield Made(row, given, signal.kind, None, None, signal.metadata, dated=True, observed=True)


def name_signal(interaction_id: str, signal: Signal) -> str:
    """The id of what was observed: one of a kind for an interaction, clicks by their number in the view."""
    said = f"{len(interaction_id)}:{interaction_id}{signal.kind.value}:{signal.name}"
    return "seen-" + hashlib.sha256(said.encode()).hexdigest()[:32]


def _settle_time(given_by_client: datetime | None, given: Receipt, now: datetime) -> datetime | None:
    if given_by_client is None:
        return None
    try:
        at = given_by_client.astimezone(UTC)
    except (OverflowError, ValueError):
        raise FeedbackError("timestamp: out of range") from None
    began = _EPOCH + timedelta(milliseconds=given.given_ms)
    return at if began - SKEW <= at <= now + SKEW else None


def _encode(fields: Mapping[str, Any], event_id: str | None, at: datetime, *, dated: bool) -> EventRow:
    said = {key: value for key, value in fields.items() if value is not None}
    spelled = at.isoformat().replace("+00:00", "Z")
    body: bytes | None = None
    if _is_plain(said["metadata"], 0):
        if event_id is None:
            timed = {**said, "timestamp": spelled} if dated else said
            event_id = _name(orjson.dumps(timed, option=orjson.OPT_SORT_KEYS))
        said["event_id"], said["timestamp"] = event_id, spelled
        body = orjson.dumps(said, option=orjson.OPT_SORT_KEYS)
    if body is not None and b"\\u0000" not in body:
        seen = hashlib.sha256(body).hexdigest()
    else:
        said["timestamp"] = at
        body, seen, event_id = _encode_slowly(said, event_id, dated=dated)
    return EventRow(event_id, said["interaction_id"], said["user_id"], said["feedback_type"], at, body, seen, True)


def _encode_slowly(said: dict[str, Any], event_id: str | None, *, dated: bool) -> tuple[bytes, str, str]:
    """The longer road, which also finds what cannot be stored."""
    event = FeedbackEvent.model_validate({**said, "event_id": event_id or "x"})
    if event_id is None:
        undated = event if dated else event.model_copy(update={"timestamp": _EPOCH})
        event_id = _name(encode_body(undated)[0].encode())
        event = event.model_copy(update={"event_id": event_id})
    body, seen = encode_body(event)
    return body.encode(), seen, event_id


def _name(said: bytes) -> str:
    return "fb-" + hashlib.sha256(said).hexdigest()[:32]


def _is_plain(value: Any, depth: int) -> bool:
    """Whether orjson writes a value as Python's json does, and jsonb gives it back as it was."""
    kind = type(value)
    if kind is str or kind is bool or value is None:
        return True
    if kind is int:
        return -_PLAIN_INT <= value <= _PLAIN_INT
    if kind is float:
        return 1e-4 <= abs(value) < 1e16
    if depth > _DEPTH:
        return False
    if kind is dict:
        return all(_is_plain(item, depth + 1) for item in value.values())
    return kind is list and all(_is_plain(item, depth + 1) for item in value)
