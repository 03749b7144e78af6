"""Decides who may rate what, and stores it: `POST /v1/feedback`, one reaction to one answer.

Only who was given an answer may rate it: the receipt in the answer's headers proves that; the admin key opens the
rest. An event is stored once: the id is the client's own, or made from what the event says, so that a repeated request
changes nothing. The event belongs to the user that the interaction belongs to, whoever sends it.
"""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime
from typing import Any, Literal

from fastapi import APIRouter, HTTPException, Request
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from flytewheel.database import connect
from flytewheel.errors import FeedbackError
from flytewheel.feedback.logs import encode_body
from flytewheel.records import FeedbackEvent, FeedbackType, Rating, digest
from router.access.callers import FEEDBACK, PROOF, caller_of
from router.access.needs import needs
from router.control import State
from router.receipts import ReceiptError
from router.state import RouterState

SETTLE_S = 5.0
_STORABLE = r"^[^\x00]*$"  # PostgreSQL holds every character but one

feedback = APIRouter(tags=["feedback"])


class FeedbackBody(BaseModel):
    """One reaction. `rating` is 1 to 5, with type `rating` only; `corrected_response` with `correction` only."""

    model_config = ConfigDict(extra="forbid")

    interaction_id: str = Field(min_length=1, max_length=200, pattern=_STORABLE)
    feedback_type: FeedbackType
    rating: Rating | None = None
    corrected_response: str | None = Field(default=None, min_length=1)
    correction_type: Literal["factual", "style", "tone"] | None = None
    metadata: dict[str, Any] = Field(default_factory=dict)
    event_id: str | None = Field(default=None, min_length=1, max_length=200, pattern=_STORABLE)
    timestamp: AwareDatetime | None = None
    receipt: str | None = Field(default=None, max_length=2000, description="x-flytewheel-receipt of the answer")


@feedback.post("/v1/feedback", status_code=201, dependencies=[needs(PROOF)])
async def post_feedback(body: FeedbackBody, request: Request, state: State) -> dict[str, str]:
    """Stores one reaction; `status` is `stored`, or `duplicate` where it was before."""
    receipt = body.receipt or request.headers.get("x-flytewheel-receipt")
    if receipt is not None:
        try:
            state.receipts.read(body.interaction_id, receipt, time.time())
        except ReceiptError as error:
            raise HTTPException(403, str(error)) from None
    elif not caller_of(request.scope).may(FEEDBACK):
        raise HTTPException(
            401, "expected `receipt`: the x-flytewheel-receipt header of the answer, or a key with the scope `feedback`"
        )
    if not await state.log.settled(body.interaction_id, SETTLE_S):
        raise HTTPException(503, "the interaction is not stored yet; send the feedback again", {"retry-after": "5"})
    event_id, status = await asyncio.to_thread(store_event, state, body)
    if status == "stored":
        state.metrics.count_feedback(body.feedback_type.value, None)
    return {"status": status, "event_id": event_id}


def store_event(state: RouterState, body: FeedbackBody) -> tuple[str, str]:
    """Stores the event under its id; returns the id, and `stored` or `duplicate`.

    Raises:
        HTTPException: 404, the interaction is unknown; 409, the id stands for another event already.
        FeedbackError: the event contradicts itself.
    """
    said = body.model_dump(mode="json", include={"interaction_id", *_SAID})
    event_id = body.event_id or "fb-" + digest(said)[:32]
    with connect(state.database_url) as connection:
        found = connection.execute(
            "SELECT user_id FROM interactions WHERE interaction_id = %s", (body.interaction_id,)
        ).fetchone()
        earlier = connection.execute(
            'SELECT "timestamp", body FROM feedback_events WHERE event_id = %s', (event_id,)
        ).fetchone()
    if found is None:
        raise HTTPException(404, f"no interaction {body.interaction_id!r}")
    # The clock is ours where the client sent no time: a repeated request must not differ from the first by that.
    timestamp = body.timestamp or (earlier[0] if earlier else datetime.now(UTC))
    event = FeedbackEvent(
        event_id=event_id,
        interaction_id=body.interaction_id,
        user_id=found[0],
        feedback_type=body.feedback_type,
        timestamp=timestamp,
        **{key: getattr(body, key) for key in _SAID if key != "feedback_type"},
    )
    encode_body(event)  # refuses what contradicts itself, so that the store's refusal below can only mean a conflict
    event = event.model_copy(update={"timestamp": timestamp.astimezone(UTC)})
    try:
        return event_id, state.feedback.record_event(event)
    except FeedbackError as error:
        if earlier is None and body.timestamp is None:  # the same request came at once, and its time counts
            return store_event(state, body)
        raise HTTPException(409, str(error)) from None


_SAID = ("feedback_type", "rating", "corrected_response", "correction_type", "metadata")
