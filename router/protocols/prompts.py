"""Takes a request's prompt apart into what will be remembered of it.

NUL has no place in PostgreSQL's text or jsonb: it is replaced where it is read, so that no row is refused later.
"""

from __future__ import annotations

from typing import Any

from flytewheel.records import Message
from router.protocols.answers import clean

_CONTEXT = "Context:\n"  # as flytewheel.records.build_prompt writes it
_ROLES = {"developer": "system", "function": "tool"}


class PromptError(ValueError):
    """The messages of a request hold nothing that could be remembered as a question."""


def split_prompt(messages: Any) -> tuple[str, str | None, tuple[Message, ...]]:
    """Takes a request's messages apart into query, context and history: the inverse of `records.build_prompt`.

    The last user turn is the query; turns after it (a prefilled answer) belong to no part and are left out.

    Raises:
        PromptError: not a list of messages, or none of them is a user's with text.
    """
    if not isinstance(messages, list) or not all(isinstance(message, dict) for message in messages):
        raise PromptError("messages must be a list of objects with role and content")
    turns = [(_read_role(message.get("role")), _read_text(message.get("content"))) for message in messages]
    asked = [index for index, (role, text) in enumerate(turns) if role == "user" and text]
    if not asked:
        raise PromptError("messages must hold a message of role 'user' with text")
    query = turns[asked[-1]][1]
    history = [Message.model_validate({"role": role, "content": text}) for role, text in turns[: asked[-1]]]
    context = None
    if history and history[0].role == "system":
        if history[0].content.startswith(_CONTEXT):
            head, passage = "", history[0].content.removeprefix(_CONTEXT)
        else:
            head, _, passage = history[0].content.partition("\n\n" + _CONTEXT)
        if passage and (head or history[0].content.startswith(_CONTEXT)):
            context = passage
            history[:1] = [Message(role="system", content=head)] if head else []
    return query, context, tuple(history)


def _read_role(role: Any) -> str:
    role = _ROLES.get(role, role) if isinstance(role, str) else role
    if role not in ("system", "user", "assistant", "tool"):
        raise PromptError(f"messages: role {role!r} is none of system, user, assistant, tool")
    return str(role)


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
    """The text of a prompt that is no chat.

    Raises:
        PromptError: it is none, or more than one.
    """
    if isinstance(prompt, list) and len(prompt) == 1:
        prompt = prompt[0]
    if not isinstance(prompt, str) or not prompt:
        raise PromptError("prompt must be text, one for each request")
    return clean(prompt)
