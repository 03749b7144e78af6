"""Tells which of a backend's 500s are the client's own fault.

llama.cpp, and Ollama in front of it, answer 500 to some requests that they cannot read: an image for a model without
eyes, a turn without a role, a tool of an unknown type. Taken for a failure it would count against the version, send the
request to the control as well, and open the breaker: anybody with a key could make a healthy version look broken. Taken
too widely it would hide a broken version behind 400s. So what counts is the shape of the answer, then its first words:

- `error.type` says so itself: `invalid_request_error` (OpenAI, llama.cpp), `BadRequestError` (vLLM, flat in old ones).
- llama.cpp's `{"error": {"code": 500, "type": "server_error", "message"}}` with a message of `_LLAMA`: what its server
  says while it reads a request (25 forms met by `benchmarks.hostile` on its release of October 2026, and those of older
  releases). What it says of the model's own output ("Failed to parse input at pos …") is not among them.
- Ollama's `{"error": "…"}`, and the same in OpenAI's form with type `api_error`, with a message of `_OLLAMA`, or of
  `_LLAMA`, which it passes on from its runner. A chat that a Modelfile of ours refuses as its chat template does
  (flytewheel/export/go_template.py) is an error of Go's `text/template` there.

Messages are compared from their beginning: what a client wrote is quoted at their end.
"""

from __future__ import annotations

import re

import orjson

_CLIENTS = frozenset(("invalid_request_error", "BadRequestError"))
_LLAMA = re.compile(
    r"(image|audio|video) input is not supported\b"
    r"|failed to parse (messages|tools|tool call arguments as json|grammar|response_format|json.?schema)\b"
    r"|failed to (tokenize prompt|format input|initialize samplers|(load|download|decode) (image|audio|video|base64))\b"
    r"|\[json\.exception\.|json schema (conversion failed|error at)\b|json_schema: |unrecognized schema: "
    r"|missing ('role'|'content'|content part type|tool (type|function)|tool call (type|function|name))"
    r"|expected '(messages|message|content|tools|tool_calls)'"
    r"|invalid ('content' type|tool_choice|type for (messages|tools)|diff: )"
    r"|unsupported (content part type|content\[\]\.type|tool type|tool call type|param)\b"
    r"|cannot (use both json_schema and grammar|use custom grammar|specify grammar with tools|continue an assistant)\b"
    r"|'(messages|tools|input|prompt|image_url|type)' (is required|must be)\b"
    r"|unable to generate parser for this template\b"
    r"|input( \(\d+ tokens\))? is too large to process\b",
    re.IGNORECASE,
)
_OLLAMA = re.compile(
    r"(failed to create new sequence: )?(failed to process inputs: )?"
    r"(this model is missing data required for image input"
    r"|(the )?input (length )?exceeds (the |maximum )?context length"
    r"|unable to create sampling context|failed to load model vocabulary required for format)\b"
    r"|invalid (json schema in format\b|format: )"
    r'|template[: ].*"(the chat template takes no turn of [^"]*|the conversation does not lead to an answer'
    r'|only turns of system, user and assistant can be rendered)" not defined',
    re.IGNORECASE | re.DOTALL,
)


def is_clients_fault(body: bytes) -> bool:
    """Whether a backend that answered 500 with this body says that it could not read the request."""
    try:
        told = orjson.loads(body)
    except orjson.JSONDecodeError:
        return False
    if not isinstance(told, dict):
        return False
    error = told.get("error")
    if isinstance(error, dict) and error.get("type") == "api_error":
        error = error.get("message")
    if isinstance(error, str):  # Ollama's
        return bool(_OLLAMA.match(error) or _LLAMA.match(error))
    if error is None:  # vLLM's, before it had OpenAI's form
        error = told if told.get("object") == "error" else {}
    if not isinstance(error, dict):
        return False
    message, kind = error.get("message"), error.get("type")
    if isinstance(kind, str) and kind in _CLIENTS:
        return True
    llamas = kind == "server_error" and error.get("code") == 500
    return llamas and isinstance(message, str) and _LLAMA.match(message) is not None
