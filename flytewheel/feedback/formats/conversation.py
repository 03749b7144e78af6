"""Turns of a conversation as others write them, and the prompts and answers in it.

An assistant turn with text is an answer. Its query is the user's last turn before it, its history the turns before
that; what tools returned in between is the context that the answer was to rest on, and calls of tools have no text of
their own. Parts of a multi-modal turn are joined, `[image]` and the like standing for what is no text.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

_ROLES = {
    "system": "system", "developer": "system",
    "user": "user", "human": "user", "customer": "user", "prompter": "user",
    "assistant": "assistant", "gpt": "assistant", "ai": "assistant", "bot": "assistant", "model": "assistant",
    "chatbot": "assistant",
    "tool": "tool", "function": "tool", "ipython": "tool", "observation": "tool", "function_response": "tool",
    "tool_response": "tool",
}  # fmt: skip
_NOT_TEXT = {"image": "[image]", "image_url": "[image]", "input_image": "[image]", "input_audio": "[audio]",
             "audio": "[audio]", "file": "[file]", "input_file": "[file]", "document": "[file]",
             "video": "[video]"}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Turn:
    """One turn: a role of ours, its text, and the object that it was."""

    role: str
    text: str
    source: Mapping[str, Any]
    tools: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Exchange:
    """An answer in its conversation; `number` counts the answers from 1."""

    number: int
    turn: Turn
    query: str | None
    history: tuple[Turn, ...]
    context: str | None
    tools: tuple[str, ...]

    def fields(self) -> dict[str, Any]:
        """The fields of an interaction."""
        history = [{"role": turn.role, "content": turn.text} for turn in self.history if turn.text]
        return {"query": self.query, "response": self.turn.text, "history": history, "context": self.context}


def read_turns(value: Any) -> list[Turn] | None:
    """Reads a list of turns; `None` where it is none. An empty list is a list."""
    if not isinstance(value, Sequence) or isinstance(value, str | bytes):
        return None
    turns = []
    for each in value:
        turn = read_turn(each)
        if turn is None:
            return None
        turns.append(turn)
    return turns


def read_turn(value: Any, *, role: str | None = None) -> Turn | None:
    """Reads one turn (`role` where it names none itself): OpenAI's, Anthropic's, LangChain's, ShareGPT's."""
    if not isinstance(value, Mapping):
        return None
    inner = value.get("kwargs") if isinstance(value.get("kwargs"), Mapping) else value.get("data")
    if isinstance(inner, Mapping) and "content" in inner and "content" not in value:
        value = {"role": value.get("role") or value.get("type"), **inner}
    named = value.get("role") or value.get("from") or value.get("type") or role
    known = _ROLES.get(str(named).lower().removesuffix("message")) if isinstance(named, str) else None
    if known is None:
        return None
    content = next(
        (value[name] for name in ("content", "value", "text", "refusal") if value.get(name) is not None), None
    )
    text = read_text(content)
    if text is None:
        return None
    return Turn(known, text, value, _name_tools(value))


def read_text(content: Any) -> str | None:
    """Gives the text of a content: a string, nothing, or a list of parts; `None` where it is something else."""
    if content is None:
        return ""
    if isinstance(content, str):
        return content
    if isinstance(content, Mapping):
        content = [content]
    if not isinstance(content, Sequence) or isinstance(content, bytes):
        return None
    texts = []
    for part in content:
        if isinstance(part, str):
            texts.append(part)
            continue
        if not isinstance(part, Mapping):
            return None
        text = part.get("text", part.get("content") if part.get("type") == "tool_result" else None)
        if isinstance(text, Mapping):  # the assistants' interface: {"text": {"value": …}}
            text = text.get("value")
        if isinstance(text, list):
            text = read_text(text)
        if isinstance(text, str):
            texts.append(text)
        elif str(part.get("type")) in _NOT_TEXT:
            texts.append(_NOT_TEXT[str(part.get("type"))])
    return "\n".join(text for text in texts if text)


def _name_tools(value: Mapping[str, Any]) -> tuple[str, ...]:
    """The names of the functions that a turn calls, in each of the shapes seen."""
    calls = value.get("tool_calls") or ([value["function_call"]] if value.get("function_call") else [])
    if isinstance(calls, str):
        try:
            calls = json.loads(calls)
        except (ValueError, RecursionError):
            return ("?",)
    names = []
    for call in calls if isinstance(calls, list) else [calls]:
        inner = call.get("function", call) if isinstance(call, Mapping) else {}
        names.append(str(inner.get("name", "?") if isinstance(inner, Mapping) else inner)[:100])
    return tuple(names)


def read_input(value: Any) -> list[Turn] | None:
    """Reads what a model was given: turns, an object that holds them, or a prompt; `None` where it is none of these."""
    value = open_json(value)
    if isinstance(value, str):
        return [Turn("user", value, {})]
    if isinstance(value, list):
        if len(value) == 1 and isinstance(value[0], list):  # LangChain's batch of one
            value = value[0]
        return read_turns(value)
    if not isinstance(value, Mapping):
        return None
    for name in (
        "messages",
        "input",
        "prompt",
        "inputs",
        "query",
        "question",
        "text",
        "message",
        "content",
        "args",
        "kwargs",
    ):
        inner = value.get(name)
        if inner is not None and inner != []:
            found = read_input(inner) if name != "args" or not isinstance(inner, list) else read_input(inner[0])
            if found is not None:
                system = value.get("system") or value.get("system_prompt") or value.get("instructions")
                return [Turn("system", system, {}), *found] if isinstance(system, str) else found
    return None


def read_output(value: Any) -> tuple[Turn | None, bool]:
    """Reads what a model gave: a turn, an object that holds it, or a text; and whether it came to its end."""
    value = open_json(value)
    if isinstance(value, str):
        return Turn("assistant", value, {}), True
    if isinstance(value, list):
        turns = read_turns(value)
        if turns is None:
            text = read_text(value)
            return (Turn("assistant", text, {}) if text else None), True
        return next((turn for turn in reversed(turns) if turn.role == "assistant"), None), True
    if not isinstance(value, Mapping):
        return None, True
    finished = is_finished(value.get("finish_reason", value.get("stop_reason")))
    choices = value.get("choices")
    if isinstance(choices, list) and choices and isinstance(choices[0], Mapping):
        choice = choices[0]
        turn, _ = read_output(choice.get("message", choice.get("text")))
        return turn, is_finished(choice.get("finish_reason"))
    if "content" in value and (turn := read_turn(value, role="assistant")) is not None:
        return (turn if turn.role == "assistant" else None), finished
    for name in (
        "message",
        "messages",
        "completion",
        "content",
        "text",
        "output",
        "response",
        "answer",
        "result",
        "generations",
    ):
        if value.get(name):
            turn, whole = read_output(value[name])
            if turn is not None:
                return turn, whole and finished
    return None, finished


def is_finished(reason: Any) -> bool:
    """Whether an answer came to its end, by the reason that its model gave for stopping."""
    return not isinstance(reason, str) or reason.lower() not in {
        "length",
        "max_tokens",
        "content_filter",
        "error",
        "cancelled",
    }


def open_json(value: Any) -> Any:
    """Opens text that is JSON: exports write objects so."""
    if isinstance(value, str) and value[:1] in {"{", "[", '"'}:
        try:
            return json.loads(value)
        except (ValueError, RecursionError):
            return value
    return value


def open_object(value: Any) -> Mapping[str, Any]:
    """Opens an object that may be written as text; anything else is an empty one."""
    found = open_json(value)
    return found if isinstance(found, Mapping) else {}


def list_exchanges(turns: Sequence[Turn]) -> list[Exchange]:
    """Lists the answers of a conversation; a text of one turn's several messages in a row counts by the last."""
    found: list[Exchange] = []
    asked: int | None = None
    for place, turn in enumerate(turns):
        if turn.role == "user" and turn.text.strip():
            asked = place
        if turn.role != "assistant" or not turn.text.strip():
            continue
        between = turns[asked + 1 : place] if asked is not None else turns[:place]
        results = [each.text for each in between if each.role == "tool" and each.text.strip()]
        exchange = Exchange(
            number=len(found) + 1,
            turn=turn,
            query=None if asked is None else turns[asked].text,
            history=tuple(turns[:asked]) if asked is not None else (),
            context="\n\n".join(results) or None,
            tools=tuple(name for each in (*between, turn) for name in each.tools),
        )
        found.append(exchange)
    return found
