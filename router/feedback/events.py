"""Turns what was sent into events as they are stored.

An id that the client does not give is made of what the event says, its time included where it has one. A time that
lies before the answer or ahead of our clock is a wrong clock and counts as not given; what has no time gets ours.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import orjson

from flytewheel.errors import FeedbackError
from flytewheel.feedback.signals import Signal, find_signals
from flytewheel.records import FeedbackType, canonical_json
from router.feedback.wire import Item
from router.log import EventRow, encode_event
from router.log.bodies import is_name, is_plain, is_time
from router.log.events import encode_plain
from router.receipts import Receipt

SKEW = timedelta(minutes=5)  # by which clocks may differ before one of them is wrong

_KINDS = {kind.value: kind for kind in FeedbackType}
_RARE = ("corrected_response", "correction_type", "other_response", "preferred")
# Of these the wire has checked all that there is to check, but for the metadata.
_EASY = frozenset(("thumbs_up", "thumbs_down", "rating", "abandonment", "follow_up", "reformulation", "copied"))
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Made(msgspec.Struct, frozen=True, gc=False):
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
    at = _settle_time(item.timestamp, given, now) if item.timestamp is not None else None
    row = _make_usual(item, given, at or now, dated=at is not None)
    if row is not None:
        return Made(row, given, _KINDS[item.feedback_type], item.rating, None, item.metadata, at is not None)
    fields: dict[str, Any] = {
        "feedback_type": item.feedback_type,
        "interaction_id": item.interaction_id,
        "metadata": item.metadata,
        "user_id": given.user,
    }
    if item.rating is not None:
        fields["rating"] = item.rating
    if item.comment is not None:
        fields["comment"] = item.comment
    easy = item.feedback_type in _EASY and (item.rating is None) is not (item.feedback_type == "rating")
    for name in _RARE:
        if (value := getattr(item, name)) is not None:
            fields[name], easy = value, False
    row = _encode(fields, item.event_id, at or now, given.source, dated=at is not None, easy=easy)
    kind = _KINDS[item.feedback_type]
    return Made(row, given, kind, item.rating, item.preferred, item.metadata, at is not None)


def _make_usual(item: Item, given: Receipt, at: datetime, *, dated: bool) -> EventRow | None:
    """The row of a reaction as most of them are, names in order already; None where there is more to it."""
    kind, name = item.feedback_type, item.event_id
    if kind not in _EASY or name is None or item.metadata or (item.rating is None) is (kind == "rating"):
        return None
    if not (item.corrected_response is item.correction_type is item.other_response is item.preferred is None):
        return None
    if not (is_name(given.user) and is_time(at)):
        return None
    fields: dict[str, Any] = {} if item.comment is None else {"comment": item.comment}
    fields["event_id"], fields["feedback_type"], fields["interaction_id"] = name, kind, item.interaction_id
    fields["metadata"] = item.metadata
    if item.rating is not None:
        fields["rating"] = item.rating
    fields["timestamp"], fields["user_id"] = at, given.user
    return encode_plain(fields, proven=True, source=given.source, ordered=True, dated=dated)


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
        row = _encode(fields, name_signal(item.interaction_id, signal), at, given.source, dated=True)
        yield Made(row, given, signal.kind, None, None, signal.metadata, dated=True, observed=True)


def name_signal(interaction_id: str, signal: Signal) -> str:
    """The id of what was observed: one of a kind for an interaction, clicks by their number in the view."""
    said = f"{len(interaction_id)}:{interaction_id}{signal.kind.value}:{signal.name}"
    return "seen-" + hashlib.sha256(said.encode()).hexdigest()[:32]


def _settle_time(given_by_client: datetime, given: Receipt, now: datetime) -> datetime | None:
    try:
        at = given_by_client.astimezone(UTC)
    except (OverflowError, ValueError):
        raise FeedbackError("timestamp: out of range") from None
    began = _EPOCH + timedelta(milliseconds=given.given_ms)
    return at if began - SKEW <= at <= now + SKEW else None


def _encode(
    fields: dict[str, Any], event_id: str | None, at: datetime, source: str, *, dated: bool, easy: bool = False
) -> EventRow:
    if event_id is None:
        said = {**fields, "timestamp": at.isoformat()} if dated else fields
        try:
            text = orjson.dumps(said, option=orjson.OPT_SORT_KEYS)
        except TypeError:  # too deep, which is refused here, or a number that it cannot write
            encode_event({**fields, "event_id": "x", "timestamp": at})
            text = canonical_json(said)
        event_id = "fb-" + hashlib.sha256(text).hexdigest()[:32]
    fields["event_id"], fields["timestamp"] = event_id, at
    row = None
    if easy and is_name(fields["user_id"]) and is_time(at) and is_plain(fields["metadata"]):
        row = encode_plain(fields, proven=True, source=source, dated=dated)
    return row or encode_event(fields, proven=True, source=source, dated=dated)
