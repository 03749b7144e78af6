"""Takes a request's prompt apart into what will be remembered of it.

NUL has no place in PostgreSQL's text or jsonb: it is replaced where it is read, so that no row is refused later.
"""

from __future__ import annotations

from typing import Any

from router.protocols.answers import clean

Turn = dict[str, str]  # role and content, as in flytewheel.records.Message

_CONTEXT = "Context:\n"  # as flytewheel.records.build_prompt writes it
_NO_MESSAGES = "messages must be a list of objects with role and content"
_ROLES = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "assistant": "assistant",
    "tool": "tool",
    "function": "tool",
}


class PromptError(ValueError):
    """A request is not what its protocol says it is."""


def split_prompt(messages: Any) -> tuple[str, str | None, tuple[Turn, ...]]:
    """Takes a request's messages apart into query, context and history: the inverse of `records.build_prompt`.

    The last user turn with text is the query, empty where there is none (pictures alone, a tool's result alone): such a
    request is as good as any other. Turns after it belong to no part and are left out.

    Raises:
        PromptError: not a list of messages.
    """
    if not isinstance(messages, list) or not messages:
        raise PromptError(_NO_MESSAGES)
    history: list[Turn] = []
    for message in messages:
        if type(message) is not dict:
            raise PromptError(_NO_MESSAGES)
        told, content = message.get("role"), message.get("content")
        role = _ROLES.get(told) if type(told) is str else None
        if role is None:
            raise PromptError(f"messages: role {str(told)[:40]!r} is none of system, user, assistant, tool")
        if type(content) is not str or "\0" in content:
            content = _read_text(content)
        history.append({"content": content, "role": role})  # in the order in which they are kept
    asked = len(history) - 1
    while asked >= 0 and not (history[asked]["role"] == "user" and history[asked]["content"]):
        asked -= 1
    query = ""
    if asked >= 0:
        query = history[asked]["content"]
        del history[asked:]
    context = None
    if history and history[0]["role"] == "system" and _CONTEXT in history[0]["content"]:
        told = history[0]["content"]
        head, _, passage = told.partition("\n\n" + _CONTEXT)
        if told.startswith(_CONTEXT):
            head, passage = "", told.removeprefix(_CONTEXT)
        if passage and (head or told.startswith(_CONTEXT)):
            context = passage
            history[:1] = [{"content": head, "role": "system"}] if head else []
    return query, context, tuple(history)


def _read_text(content: Any) -> str:
    if isinstance(content, list):
        parts = [part.get("text") for part in content if isinstance(part, dict) and part.get("type") == "text"]
        content = "\n".join(part for part in parts if isinstance(part, str))
    if content is None:
        return ""
    if not isinstance(content, str):
        raise PromptError("messages: content must be text, or a list of parts")
    return clean(content)


def read_plain_prompt(prompt: Any) -> str:
    """The text of a prompt that is no chat: of several the first, whose answer is the first choice; empty where it is
    given as token ids, or not at all.

    Raises:
        PromptError: it is no prompt.
    """
    if isinstance(prompt, list):
        if not all(isinstance(part, str | int | list) for part in prompt):
            raise PromptError("prompt must be text, a list of texts, or token ids")
        prompt = prompt[0] if prompt and isinstance(prompt[0], str) else ""
    if not isinstance(prompt, str | None):
        raise PromptError("prompt must be text, a list of texts, or token ids")
    return clean(prompt or "")
