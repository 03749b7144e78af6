"""What the bare endpoints of feedback are in OpenAPI: `/docs`, clients made from it, and schemathesis see them."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI

from router.feedback.wire import SCHEMAS

_ERROR = {"type": "object", "properties": {"error": {"type": "object"}}, "required": ["error"]}
_RESULT = {
    "type": "object",
    "properties": {
        "status": {"enum": ["stored", "duplicate", "nothing", "refused"]},
        "event_id": {"type": "string"},
        "signals": {"type": "array", "items": {"type": "object"}},
        "code": {"type": "integer", "description": "of a refused item of a batch"},
        "message": {"type": "string"},
    },
    "required": ["status"],
}
_BATCH_RESULT = {
    "type": "object",
    "properties": {
        "accepted": {"type": "integer"},
        "refused": {"type": "integer"},
        "results": {"type": "array", "items": {"$ref": "#/components/schemas/FeedbackResult"}},
    },
    "required": ["accepted", "refused", "results"],
}
# One item, or a batch all of whose items were refused alike, each with its reason.
_REFUSED = {"anyOf": [_ERROR, {"$ref": "#/components/schemas/FeedbackBatchResult"}]}
_REFUSALS = {
    "400": "the body is not JSON",
    "401": "neither a receipt nor a key",
    "403": "the receipt is not this answer's, or has expired; or the key has not the scope",
    "404": "no such interaction",
    "409": "the event_id stands for another event",
    "413": "the body is too large, or holds too many events",
    "422": "what is wrong, in one line; a batch: each item was refused",
    "429": "the key's allowance is used up",
    "503": "it cannot be stored now; send it again",
}


def _describe_post() -> dict[str, Any]:
    body = {"oneOf": [{"$ref": f"#/components/schemas/Feedback{name}"} for name in ("Reaction", "View", "Batch")]}
    result = {
        "oneOf": [{"$ref": f"#/components/schemas/Feedback{name}"} for name in ("Result", "BatchResult")],
    }
    header = {"name": "x-flytewheel-receipt", "in": "header", "required": False, "schema": {"type": "string"}}
    return {
        "tags": ["feedback"],
        "summary": "Say what an answer was worth",
        "description": "One reaction, one view of an answer as a client saw it, or a batch. Needs the answer's receipt,"
        " in the item or the header, or a key with the scope `feedback`. What is sent again changes nothing.",
        "parameters": [header],
        "requestBody": {"required": True, "content": {"application/json": {"schema": body}}},
        "responses": {
            "200": {"description": "known already, or a batch's results in order", "content": _json(result)},
            "201": {"description": "stored", "content": _json({"$ref": "#/components/schemas/FeedbackResult"})},
            **{status: {"description": text, "content": _json(_REFUSED)} for status, text in _REFUSALS.items()},
        },
    }


def _describe_stream() -> dict[str, Any]:
    since = {"name": "Last-Event-ID", "in": "header", "required": False, "schema": {"type": "string"}}
    name = {"name": "name", "in": "query", "required": False, "schema": {"type": "string"}}
    return {
        "tags": ["feedback"],
        "summary": "Rewards as they are stored, as server-sent events",
        "parameters": [since, name],
        "responses": {
            "200": {"description": "a stream that does not end", "content": {"text/event-stream": {}}},
            **{
                status: {"description": "refused", "content": _json(_ERROR)}
                for status in ("400", "401", "403", "406", "503")
            },
        },
    }


def _json(schema: dict[str, Any]) -> dict[str, Any]:
    return {"application/json": {"schema": schema}}


def add_paths(app: FastAPI) -> None:
    """Adds the endpoints to what `app.openapi()` says."""
    inner = app.openapi

    def openapi() -> dict[str, Any]:
        said = inner()
        for path, suffix in (("/v1/feedback", ""), ("/api/feedback", "_reference")):
            said["paths"][path] = {"post": {**_describe_post(), "operationId": f"post_feedback{suffix}"}}
        said["paths"]["/v1/rewards"] = {"get": {**_describe_stream(), "operationId": "get_rewards"}}
        said.setdefault("components", {}).setdefault("schemas", {}).update(
            {**SCHEMAS, "FeedbackResult": _RESULT, "FeedbackBatchResult": _BATCH_RESULT}
        )
        return said

    app.openapi = openapi  # type: ignore[method-assign]
