"""A feedback event as it is stored: its columns, canonical body and digest, made of plain fields in a few µs."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, NamedTuple

from pydantic import ValidationError

from flytewheel.errors import FeedbackError
from flytewheel.feedback.logs import encode_body
from flytewheel.records import FeedbackEvent


class EventRow(NamedTuple):
    """One event, checked. `proven`: its interaction exists for certain, stored or not yet."""

    event_id: str
    interaction_id: str
    user_id: str
    feedback_type: str
    timestamp: datetime
    body: bytes
    digest: str
    proven: bool


def encode_event(fields: Mapping[str, Any], *, proven: bool = False) -> EventRow:
    """Checks an event and encodes it.

    Args:
        fields: of `FeedbackEvent`; what is None or missing is left out. `timestamp` is an aware datetime.
        proven: whether a receipt proves that its interaction exists, and is this user's.

    Raises:
        FeedbackError: it is no event, contradicts itself, or holds what cannot be stored; the message says which.
    """
    try:
        event = FeedbackEvent.model_validate({key: value for key, value in fields.items() if value is not None})
    except ValidationError as error:
        fault = error.errors(include_url=False, include_context=False)[0]
        raise FeedbackError(f"FeedbackEvent refused: {'.'.join(map(str, fault['loc']))}: {fault['msg']}") from None
    body, digest = encode_body(event)
    return EventRow(
        event.event_id,
        event.interaction_id,
        event.user_id,
        event.feedback_type.value,
        event.timestamp,
        body.encode(),
        digest,
        proven,
    )
