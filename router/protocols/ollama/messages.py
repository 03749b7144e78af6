"""A conversation in Ollama's form as OpenAI's: pictures become parts, tool calls get ids and arguments as text.

Ollama's tool calls have had no ids for long: calls and results are matched by the tool's name, then by order.
"""

from __future__ import annotations

import base64
import binascii
from typing import Any

import orjson

from router.protocols.prompts import PromptError

_KNOWN = frozenset(("role", "content", "images", "tool_calls", "tool_name", "thinking"))
_PICTURES = (
    (b"\x89PNG", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF8", "image/gif"),
    (b"BM", "image/bmp"),
    (b"RIFF", "image/webp"),
)


def write_messages(messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """All turns in OpenAI's form; fields that are not Ollama's stay.

    Raises:
        PromptError: a turn is none of Ollama's.
    """
    open_calls: list[tuple[str, str]] = []  # name and id of calls without a result
    written = []
    for place, message in enumerate(messages):
        turn = {key: value for key, value in message.items() if key not in _KNOWN}
        turn["role"] = message.get("role")
        turn["content"] = write_content(message.get("content"), message.get("images"))
        if message.get("thinking"):
            turn["reasoning_content"] = message["thinking"]
        if message.get("tool_calls"):
            turn["tool_calls"] = _write_calls(message["tool_calls"], place, open_calls)
            turn["content"] = turn["content"] or None
        if turn["role"] == "tool":
            _match_result(turn, message.get("tool_name"), open_calls)
        written.append(turn)
    return written


def write_content(text: Any, images: Any) -> Any:
    """Text, or text and pictures as parts.

    Raises:
        PromptError: a picture is none.
    """
    if not images:
        return "" if text is None else text
    if not isinstance(images, list) or not all(isinstance(image, str) for image in images):
        raise PromptError("images must be a list of pictures in base64")
    parts: list[dict[str, Any]] = [{"type": "text", "text": text}] if text else []
    return parts + [{"type": "image_url", "image_url": {"url": _write_url(image)}} for image in images]


def _write_url(image: str) -> str:
    if image.startswith("data:"):
        return image
    try:
        head = base64.b64decode(image[:32], validate=True)
    except (binascii.Error, ValueError):
        raise PromptError("images must be a list of pictures in base64") from None
    kind = next((kind for magic, kind in _PICTURES if head.startswith(magic)), "image/png")
    return f"data:{kind};base64,{image}"


def _write_calls(calls: Any, place: int, open_calls: list[tuple[str, str]]) -> list[dict[str, Any]]:
    if not isinstance(calls, list):
        raise PromptError("tool_calls must be a list")
    written = []
    for count, call in enumerate(calls):
        function = call.get("function") if isinstance(call, dict) else None
        if not isinstance(function, dict) or not isinstance(function.get("name"), str):
            raise PromptError("tool_calls: each needs a function with a name")
        arguments = function.get("arguments")
        told = arguments if isinstance(arguments, str) else orjson.dumps(arguments or {}).decode()
        call_id = call["id"] if isinstance(call.get("id"), str) and call["id"] else f"call_{place}_{count}"
        open_calls.append((function["name"], call_id))
        written.append({"id": call_id, "type": "function", "function": {"name": function["name"], "arguments": told}})
    return written


def _match_result(turn: dict[str, Any], name: Any, open_calls: list[tuple[str, str]]) -> None:
    """Gives a tool's result the id of its call."""
    if isinstance(name, str) and name:
        turn["name"] = name
    given = turn.get("tool_call_id")
    found = next((call for call in open_calls if call[1] == given), None)
    if given is None:
        found = next((call for call in open_calls if call[0] == name), open_calls[0] if open_calls else None)
        turn["tool_call_id"] = found[1] if found else "call_unknown"
    if found is not None:
        open_calls.remove(found)
