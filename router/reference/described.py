"""`/openapi.json`, whole: what FastAPI knows of its own routes, and the bare endpoints that it does not know.

Bodies of models' calls are described by what the router itself asks of them; every other field passes through, so the
schemas are open. Each refusal has the shape that `router.refusals` gives it by its path, which replaces FastAPI's own.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from fastapi import FastAPI

from router.access.callers import SERVE
from router.paths import OLLAMA_PATHS
from router.protocols import PROTOCOLS

VERSION = "1"
_METHODS = ("get", "put", "post", "patch", "delete")
_MODEL = {"type": "string", "description": "`flytewheel/<name>`", "examples": ["flytewheel/oncall"]}
_MESSAGES = {
    "type": "array",
    "minItems": 1,
    "items": {
        "type": "object",
        "required": ["role", "content"],
        "properties": {"role": {"type": "string"}, "content": {"description": "text, or OpenAI's list of parts"}},
    },
}
_STREAM = {"type": "boolean", "description": "answer as it is made"}
_TEXT = {"type": "string"}
_TEXTS = {"anyOf": [_TEXT, {"type": "array", "items": _TEXT}]}
_SAID = [{"role": "user", "content": "Which runbook?"}]

# Path: summary, the fields that the router reads (the first ones are required), how many of them, what a stream is.
_BARE: Mapping[str, tuple[str, dict[str, Any], int, str, dict[str, Any]]] = {
    "/v1/chat/completions": (
        "OpenAI's chat",
        {"model": _MODEL, "messages": _MESSAGES, "stream": _STREAM, "user": _TEXT, "metadata": {"type": "object"}},
        2,
        "text/event-stream",
        {"model": "flytewheel/oncall", "messages": _SAID, "user": "ada"},
    ),
    "/v1/completions": (
        "OpenAI's completions",
        {"model": _MODEL, "prompt": _TEXT, "stream": _STREAM, "user": _TEXT},
        2,
        "text/event-stream",
        {"model": "flytewheel/oncall", "prompt": "The runbook is", "max_tokens": 16},
    ),
    "/v1/embeddings": (
        "OpenAI's embeddings",
        {"model": _MODEL, "input": _TEXTS, "user": _TEXT},
        2,
        "",
        {"model": "flytewheel/oncall", "input": "Which runbook?"},
    ),
    "/api/chat": (
        "Ollama's chat",
        {"model": _MODEL, "messages": _MESSAGES, "stream": _STREAM, "options": {"type": "object"}},
        2,
        "application/x-ndjson",
        {"model": "flytewheel/oncall", "messages": _SAID, "stream": False},
    ),
    "/api/generate": (
        "Ollama's generate",
        {"model": _MODEL, "prompt": _TEXT, "stream": _STREAM, "options": {"type": "object"}},
        2,
        "application/x-ndjson",
        {"model": "flytewheel/oncall", "prompt": "Which runbook?", "stream": False},
    ),
    "/api/embed": (
        "Ollama's embeddings",
        {"model": _MODEL, "input": _TEXTS},
        2,
        "",
        {"model": "flytewheel/oncall", "input": "Which runbook?"},
    ),
    "/api/embeddings": (
        "Ollama's embeddings, as they once were",
        {"model": _MODEL, "prompt": _TEXT},
        2,
        "",
        {"model": "flytewheel/oncall", "prompt": "Which runbook?"},
    ),
}
_GIVEN = {
    "x-flytewheel-interaction": "id of the answer, for feedback",
    "x-flytewheel-version": "version that answered",
    "x-flytewheel-receipt": "lets whoever got the answer rate it",
    "x-flytewheel-unit": "what the user was known by",
}


def describe(app: FastAPI) -> None:
    """Has `app.openapi()` describe everything that the router serves; to be called after whoever else adds to it."""
    inner = app.openapi

    def openapi() -> dict[str, Any]:
        return _complete(inner())

    app.openapi = openapi  # type: ignore[method-assign]  # FastAPI's documented way


def list_operations(schema: Mapping[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Method, path and operation of a schema."""
    for path, item in schema["paths"].items():
        for method in _METHODS:
            if method in item:
                yield method, path, item[method]


def _complete(schema: dict[str, Any]) -> dict[str, Any]:
    parts = schema.setdefault("components", {})
    kinds, locks = parts.setdefault("schemas", {}), parts.setdefault("securitySchemes", {})
    kinds |= {"Refusal": _REFUSAL, "OllamaRefusal": _OLLAMA_REFUSAL}
    locks.setdefault(
        f"{SERVE} key",
        {"type": "http", "scheme": "bearer", "description": f"an API key with the scope `{SERVE}`"},
    )
    for path in PROTOCOLS:
        schema["paths"].setdefault(path, {})["post"] = _describe_call(path)
    for _, path, operation in list_operations(schema):
        # FastAPI's own shape of a refused body is not ours.
        if "HTTPValidationError" in str(operation["responses"].get("422")):
            del operation["responses"]["422"]
        operation["responses"]["default"] = {
            "description": "refused, with the reason in one line",
            "content": {"application/json": {"schema": {"$ref": f"#/components/schemas/{_name_refusal(path)}"}}},
        }
    for kind in ("HTTPValidationError", "ValidationError"):
        kinds.pop(kind, None)
    return schema


def _name_refusal(path: str) -> str:
    return "OllamaRefusal" if path in OLLAMA_PATHS else "Refusal"


def _describe_call(path: str) -> dict[str, Any]:
    summary, fields, required, stream, example = _BARE.get(path, (path, {"model": _MODEL}, 1, "", {}))
    content: dict[str, Any] = {"application/json": {"schema": {"type": "object"}}}
    if stream:
        content[stream] = {"schema": {"type": "string"}}
    return {
        "tags": ["models"],
        "summary": summary,
        "description": "Fields that are not listed pass to the backend as they are.",
        "operationId": "call" + path.replace("/", "_"),
        "security": [{f"{SERVE} key": []}],
        "requestBody": {
            "required": True,
            "content": {
                "application/json": {
                    "schema": {"type": "object", "required": list(fields)[:required], "properties": fields},
                    "example": example,
                }
            },
        },
        "responses": {
            "200": {
                "description": "the backend's answer",
                "content": content,
                "headers": {name: {"description": text, "schema": _TEXT} for name, text in _GIVEN.items()},
            }
        },
    }


ABOUT = (
    "The service in front of the models. Send `Authorization: Bearer <API key>`; `flytewheel keys create` makes one. "
    "An answer's `x-flytewheel-receipt` lets whoever got it rate it at `/v1/feedback` without a key."
)
_OLLAMA_REFUSAL = {
    "title": "OllamaRefusal",
    "type": "object",
    "required": ["error"],
    "properties": {"error": {"type": "string"}},
    "examples": [{"error": "no model 'flytewheel/x' with a champion; served are: flytewheel/oncall"}],
}
_REFUSAL = {
    "title": "Refusal",
    "type": "object",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["message", "type"],
            "properties": {
                "message": {"type": "string"},
                "type": {"type": "string"},
                "param": {"type": ["string", "null"]},
                "code": {"type": ["string", "null"]},
            },
        }
    },
    "examples": [
        {
            "error": {
                "message": "no model 'flytewheel/x' with a champion; served are: flytewheel/oncall",
                "type": "invalid_request_error",
                "param": None,
                "code": "model_not_found",
            }
        }
    ],
}
