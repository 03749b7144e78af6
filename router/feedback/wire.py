"""What a client may send: one reaction, one view of an answer as it saw it, or a batch of both. Read without pydantic.

msgspec checks types and bounds in C (1 to 2 µs an item; pydantic's validation and dump cost 30). What is wrong with an
item is one line, and in a batch the item's own: the others are taken. `SCHEMAS` is the same for OpenAPI.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

from flytewheel.feedback.signals import Kind, Seen, View
from router.receipts import LONGEST_RECEIPT
from router.refusals import RefusedError

MOST_ITEMS = 1_000
MOST_SEEN = 500  # of one view; our snippet stops at 200
BODY_LIMIT = 1 << 20  # bytes

Name = Annotated[str, Meta(min_length=1, max_length=200)]
Text = Annotated[str, Meta(min_length=1, max_length=200_000)]
Count = Annotated[int, Meta(ge=0, le=10_000_000)]
Time = Annotated[float, Meta(ge=-(2**53), le=2**53)]  # ms; a clock that is wrong is no error

Type = Literal[
    "thumbs_up", "thumbs_down", "rating", "correction", "abandonment", "follow_up", "edit", "duel",
    "reformulation", "accepted", "copied", "citation_click", "read_time",
]  # fmt: skip


class SeenItem(Struct, forbid_unknown_fields=True, gc=False):
    """One thing that a client saw: number, ms since `shown`, what."""

    n: Annotated[int, Meta(ge=0, le=1_000_000)]
    t: Time
    e: Kind
    depth: Annotated[float, Meta(ge=0, le=1)] = 1.0
    text: Annotated[str, Meta(max_length=20_000)] = ""


class Item(Struct, forbid_unknown_fields=True, gc=False):
    """A reaction (`feedback_type`) or a view (`observed`), with what proves that its sender may."""

    interaction_id: Name
    receipt: Annotated[str, Meta(max_length=LONGEST_RECEIPT)] | None = None
    feedback_type: Type | None = None
    rating: Annotated[float, Meta(ge=1, le=5)] | None = None
    corrected_response: Text | None = None
    correction_type: Literal["factual", "style", "tone"] | None = None
    other_response: Text | None = None
    preferred: Literal["this", "other", "tie"] | None = None
    comment: Text | None = None
    metadata: dict[str, Any] = msgspec.field(default_factory=dict)
    event_id: Name | None = None
    timestamp: Annotated[datetime, Meta(tz=True)] | None = None
    observed: Annotated[list[SeenItem], Meta(max_length=MOST_SEEN)] | None = None
    session_ms: Time | None = None
    characters: Count | None = None
    wide: Count | None = None
    language: Annotated[str, Meta(max_length=100)] | None = None
    question: Annotated[str, Meta(max_length=20_000)] | None = None

    def to_view(self, question: str | None) -> View:
        """The view that `observed` tells of."""
        return View(
            seen=[Seen(one.n, int(one.t), one.e, one.depth, one.text) for one in self.observed or ()],
            session_ms=int(self.session_ms or 0),
            characters=self.characters or 0,
            wide=self.wide or 0,
            language=self.language,
            question=question,
        )


_OBSERVED = ("session_ms", "characters", "wide", "language", "question")
_SAID = ("rating", "corrected_response", "correction_type", "other_response", "preferred", "comment", "event_id",
         "timestamp")  # fmt: skip


class _Batch(Struct, forbid_unknown_fields=True):
    events: list[msgspec.Raw]


_item = msgspec.json.Decoder(Item)
_batch = msgspec.json.Decoder(_Batch)
_any = msgspec.json.Decoder(dict[str, msgspec.Raw])


def read_items(raw: bytes) -> tuple[bool, Sequence[Item | RefusedError]]:
    """Reads a body: whether it is a batch, and its items, each one or what is wrong with it.

    Raises:
        RefusedError: it is not JSON (400), neither an item nor a batch (422), or holds too many (413).
    """
    try:
        fields = _any.decode(raw)
    except msgspec.ValidationError:
        raise RefusedError(422, "invalid_request_error", "expected an object: a reaction, or {events: […]}") from None
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        raise RefusedError(400, "invalid_request_error", "the body is not JSON") from None
    if "events" not in fields:
        item = read_item(raw)
        if isinstance(item, RefusedError):
            raise item
        return False, [item]
    try:
        events = _batch.decode(raw).events
    except msgspec.DecodeError as error:
        raise RefusedError(422, "invalid_request_error", _describe(error)) from None
    if not 1 <= len(events) <= MOST_ITEMS:
        status = 413 if events else 422
        raise RefusedError(status, "invalid_request_error", f"expected 1 to {MOST_ITEMS} events, got {len(events)}")
    return True, [read_item(each) for each in events]


def read_item(raw: bytes | msgspec.Raw) -> Item | RefusedError:
    """One item, or what is wrong with it."""
    try:
        item = _item.decode(raw)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        return RefusedError(422, "invalid_request_error", _describe(error))
    if (item.feedback_type is None) is (item.observed is None):
        return RefusedError(422, "invalid_request_error", "expected either feedback_type or observed")
    stray = _SAID if item.observed is not None else _OBSERVED
    for name in stray:
        if getattr(item, name) is not None:
            with_what = "feedback_type" if item.observed is not None else "observed"
            return RefusedError(422, "invalid_request_error", f"{name}: belongs to {with_what}")
    return item


def _describe(error: Exception) -> str:
    """msgspec's line with the field in front, as the other refusals have it: `rating: expected …`."""
    if isinstance(error, UnicodeDecodeError):
        return "the body is not UTF-8"
    said, _, path = " ".join(str(error).split()).partition(" - at `")
    place = path.rstrip("`").removeprefix("$").lstrip(".")
    return f"{place or 'body'}: {said[:1].lower()}{said[1:]}"[:300]


def _build_schemas() -> dict[str, Any]:
    """JSON schemas of the bodies, by name."""
    (_, parts) = msgspec.json.schema_components([Item, SeenItem], ref_template="#/components/schemas/Feedback{name}")
    fields: dict[str, Any] = parts["Item"]["properties"]
    shared = {name: fields[name] for name in ("interaction_id", "receipt")}
    said = {name: fields[name] for name in ("feedback_type", *_SAID, "metadata")}
    seen = {name: fields[name] for name in ("observed", *_OBSERVED)}
    said["feedback_type"] = {"enum": fields["feedback_type"]["anyOf"][0]["enum"]}
    seen["observed"] = fields["observed"]["anyOf"][0]
    reaction = _close({**shared, **said}, "feedback_type", "One reaction to one answer.")
    view = _close({**shared, **seen}, "observed", "What a client saw of one view of an answer, from `shown` on.")
    one = {"oneOf": [{"$ref": f"#/components/schemas/Feedback{name}"} for name in ("Reaction", "View")]}
    batch = {"events": {"type": "array", "items": one, "minItems": 1, "maxItems": MOST_ITEMS}}
    return {
        "FeedbackReaction": reaction,
        "FeedbackView": view,
        "FeedbackSeenItem": parts["SeenItem"],
        "FeedbackBatch": {
            "type": "object", "properties": batch, "required": ["events"], "additionalProperties": False,
            "description": "Several items; what is wrong with one does not touch the others.",
        },
    }  # fmt: skip


def _close(properties: dict[str, Any], needed: str, description: str) -> dict[str, Any]:
    return {
        "type": "object", "properties": properties, "required": ["interaction_id", needed],
        "additionalProperties": False, "description": description,
    }  # fmt: skip


SCHEMAS = _build_schemas()
