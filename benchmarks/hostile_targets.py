"""What hostile requests are aimed at: every endpoint of a router's OpenAPI, with a body that it would take."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Target:
    """An endpoint: method, path with `{parameters}`, and a body that it would take."""

    method: str
    path: str
    body: Any


MESSAGES = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Which word?"}]
IMAGE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}}
TOOL = {
    "type": "function",
    "function": {"name": "f", "parameters": {"type": "object", "properties": {"a": {"type": "string"}}}},
}


def list_targets(openapi: Mapping[str, Any], model: str, interaction: str, receipt: str) -> list[Target]:
    """Every endpoint of a router, with a body where we know one."""
    options = {"temperature": 0, "max_tokens": 1}
    chat = {
        "model": model,
        "messages": MESSAGES,
        "user": "eve",
        "metadata": {"topic": "t", "session_id": "s"},
        **options,
    }
    said = {"interaction_id": interaction, "receipt": receipt, "feedback_type": "thumbs_up", "metadata": {"a": 1}}
    known: dict[tuple[str, str], list[Any]] = {
        ("post", "/v1/chat/completions"): [
            chat,
            chat | {"stream": True, "stream_options": {"include_usage": True}},
            chat | {"tools": [TOOL], "logprobs": True, "stop": ["x"], "seed": 1, "n": 1},
            chat | {"messages": [{"role": "user", "content": [{"type": "text", "text": "?"}, IMAGE]}]},
        ],
        ("post", "/v1/completions"): [
            {"model": model, "prompt": "Which word?", **options},
            {"model": model, "prompt": ["a"]},
        ],
        ("post", "/v1/embeddings"): [{"model": model, "input": "text"}, {"model": model, "input": [[1, 2]]}],
        ("post", "/api/chat"): [{"model": model, "messages": MESSAGES, "stream": False, "options": {"num_predict": 1}}],
        ("post", "/api/generate"): [
            {"model": model, "prompt": "?", "stream": False, "images": ["aGk="], "format": "json"}
        ],
        ("post", "/api/embed"): [{"model": model, "input": ["a", "b"]}],
        ("post", "/api/show"): [{"model": model}],
        ("post", "/v1/feedback"): [
            said,
            said | {"feedback_type": "rating", "rating": 3},
            said | {"feedback_type": "correction", "corrected_response": "x", "correction_type": "style"},
            {"events": [said, said | {"event_id": "e1"}]},
        ],
        ("put", "/models/{name}/champion"): [{"version": "v1", "expect": ""}],
        ("post", "/experiments"): [
            {"name": "demo", "control": "v1", "treatment": "v2", "share": 0.1, "launch_key": "k", "body": {"a": 1}}
        ],
    }
    targets = [Target(method.upper(), path, body) for (method, path), bodies in known.items() for body in bodies]
    for path, operations in openapi["paths"].items():
        for method in operations:
            if path == "/v1/rewards":  # a stream without end
                continue
            if (method, path) not in known and method in ("get", "post", "put", "patch", "delete"):
                targets.append(Target(method.upper(), path, _invent(operations[method], openapi)))
    return targets


def _invent(operation: Mapping[str, Any], openapi: Mapping[str, Any]) -> Any:
    """A body of the shape that the description gives: each field by its type."""
    content = operation.get("requestBody", {}).get("content", {}).get("application/json", {})
    return _fill(content.get("schema", {}), openapi, 0)


def _fill(schema: Mapping[str, Any], openapi: Mapping[str, Any], depth: int) -> Any:
    if "$ref" in schema:
        schema = openapi["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
    for choice in ("anyOf", "oneOf", "allOf"):
        if choice in schema:
            schema = schema[choice][0]
            return _fill(schema, openapi, depth + 1)
    if "enum" in schema:
        return schema["enum"][0]
    if schema.get("type") == "object" or "properties" in schema:
        fields = schema.get("properties", {})
        return {name: _fill(field, openapi, depth + 1) for name, field in fields.items()} if depth < 6 else {}
    examples = {"string": "a", "integer": 1, "number": 0.5, "boolean": True, "array": [], "null": None}
    return examples.get(str(schema.get("type")), {})
