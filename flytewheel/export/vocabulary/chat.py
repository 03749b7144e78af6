"""A tokenizer's chat template: the text of a chat, the token that opens it, and the one that ends an answer."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

_GENERATION = re.compile(r"\{%(-?)\s*(end)?generation\s*(-?)%\}")
_ANSWER = "q7Zx answer q7Zx"
_CHATS: tuple[tuple[tuple[str, str], ...], ...] = (
    (("user", "Hello, world"),),
    (("system", "Be brief.\n"), ("user", "  Größe: 12345?\n\n")),
    (("user", "It's\ta 🙂"), ("assistant", "你好, I'll `x = 1`\n"), ("user", "\nand then")),
    (("system", "tools: {\"a\": [1]}"), ("user", "a"), ("assistant", ""), ("user", "b"), ("assistant", " c ")),
)  # fmt: skip


def plain_templates(tokenizer: Any) -> dict[str, str]:
    """The chat templates by name (`default` among them) without `generation` marks, which only transformers knows.

    The marks become `if true`, because a tag in their place also keeps what they did to the white space around them.
    """
    given = tokenizer.chat_template or {}
    if isinstance(given, str):
        given = {"default": given}
    elif not isinstance(given, Mapping):
        given = {entry["name"]: entry["template"] for entry in given}
    plain = {name: _GENERATION.sub(_replace_mark, template) for name, template in sorted(given.items())}
    if plain and "default" not in plain:
        plain = {"default": next(iter(plain.values())), **plain}
    return plain


def plain_template(tokenizer: Any) -> str:
    """The default one of `plain_templates`."""
    return plain_templates(tokenizer)["default"]


def render(tokenizer: Any, messages: Sequence[tuple[str, str]], *, reply: bool) -> str | None:
    """A chat of (role, content) as the template writes it; nothing when the template refuses such a chat."""
    from jinja2 import TemplateError

    template = plain_templates(tokenizer).get("default")
    if template is None:
        return None
    turns = [{"role": role, "content": content} for role, content in messages]
    try:
        return str(
            tokenizer.apply_chat_template(
                turns, tokenize=False, add_generation_prompt=reply, chat_template=template, continue_final_message=False
            )
        )
    except (TemplateError, TypeError, ValueError, KeyError, IndexError):  # its own way to say no
        return None


def list_chats(tokenizer: Any) -> list[str]:
    """Chats as the template writes them, for comparison."""
    rendered = (render(tokenizer, chat, reply=chat[-1][0] == "user") for chat in _CHATS)
    return [text for text in rendered if text is not None]


def find_opening(tokenizer: Any) -> str | None:
    """The special token that every chat begins with."""
    opened = set()
    for text in list_chats(tokenizer):
        ids = tokenizer(text, add_special_tokens=False)["input_ids"]
        added = tokenizer.added_tokens_decoder.get(ids[0]) if ids else None
        opened.add(str(added) if added is not None else None)
    return opened.pop() if len(opened) == 1 else None


def find_closing(tokenizer: Any) -> int | None:
    """The id of the token that the template writes behind an answer."""
    text = render(tokenizer, (("user", "Hello"), ("assistant", _ANSWER)), reply=False)
    if text is None or _ANSWER not in text:
        return None
    for index in tokenizer(text.rpartition(_ANSWER)[2], add_special_tokens=False)["input_ids"]:
        if index in tokenizer.added_tokens_decoder:
            return int(index)
    return None


def _replace_mark(found: re.Match[str]) -> str:
    return f"{{%{found[1]} {'endif' if found[2] else 'if true'} {found[3]}%}}"
