"""What the reactions to one answer say: which text to learn from, which duel was won, in what direction.

A note of them holds all that a reward is made of, and no texts: what is left of them can be scored again.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import orjson

from flytewheel.records import FeedbackEvent, FeedbackType

_SIGNS = {
    FeedbackType.THUMBS_UP: 1,
    FeedbackType.THUMBS_DOWN: -1,
    FeedbackType.CORRECTION: -1,
    FeedbackType.ABANDONMENT: -1,
}
_WEIGHED = frozenset((FeedbackType.RATING, FeedbackType.DUEL))  # the sign is that of what came with them


def find_written(events: Sequence[FeedbackEvent]) -> FeedbackEvent | None:
    """The event whose text is the one to learn from: the last correction, else the last edit."""
    for kind in (FeedbackType.CORRECTION, FeedbackType.EDIT):
        given = [event for event in events if event.feedback_type is kind and event.corrected_response]
        if given:
            return max(given, key=_by_time)
    return None


def find_duel(events: Sequence[FeedbackEvent]) -> FeedbackEvent | None:
    """The last duel that one answer won."""
    given = [event for event in events if event.other_response and event.preferred in ("this", "other")]
    return max(given, key=_by_time) if given else None


def find_sign(event: FeedbackEvent) -> int:
    """The direction of what was said: -1, 0 or 1."""
    kind = event.feedback_type
    if kind not in _WEIGHED:
        return _SIGNS.get(kind, 0)
    if kind is FeedbackType.RATING:
        rating = event.rating or 3
        return (rating > 3) - (rating < 3)
    return {"this": 1, "other": -1}.get(event.preferred or "", 0)


def read_heard(noted: str) -> list[FeedbackEvent]:
    """Reads what `note_events` noted."""
    return [FeedbackEvent.model_validate(event) for event in orjson.loads(noted)]


def note_events(events: Sequence[FeedbackEvent]) -> str:
    """Notes events without their texts, as JSON."""
    return orjson.dumps([_note_event(event) for event in events]).decode() if events else "[]"


def _note_event(event: FeedbackEvent) -> dict[str, Any]:
    noted: dict[str, Any] = {
        "event_id": event.event_id,
        "interaction_id": event.interaction_id,
        "user_id": event.user_id,
        "feedback_type": event.feedback_type,
        "timestamp": event.timestamp,
    }
    if event.rating is not None:
        noted["rating"] = event.rating
    if event.preferred is not None:
        noted["preferred"] = event.preferred
    if event.metadata:
        noted["metadata"] = {
            name: float(value)  # orjson writes no integer beyond 64 bits
            for name in ("seconds", "count", "read_s", "expected_s")
            if isinstance(value := event.metadata.get(name), int | float) and not isinstance(value, bool)
        }
    return noted


def _by_time(event: FeedbackEvent) -> tuple[datetime, str]:
    return event.timestamp, event.event_id
