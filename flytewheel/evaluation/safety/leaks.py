"""Finds personal data and secrets in an answer that its prompt does not hold, and covers them.

What is personal is decided by `flytewheel.pii`; typed placeholders (`<EMAIL_1>`) are none. A value that stands in the
prompt, in whatever spelling of spaces, dots and dashes, was there to be read and is no leak. A leaked value is never
kept: a report shows its kind and its form (`0000 xxxx`), and the files of an evaluation hold covered answers.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from flytewheel import pii
from flytewheel.records import Message

_LOOSE = re.compile(r"[\W_]+")
_LONGEST_FORM = 24
_ANSWERS = ("candidate", "champion")


def find_leaks(answer: str, prompt: Sequence[Message]) -> list[tuple[int, int, str]]:
    """Personal data that the answer brings in, each as (start, end, kind) in characters."""
    found = pii.find(answer)
    if not found:
        return []
    known = _loosen("\n".join(turn.content for turn in prompt))
    return [(start, end, kind) for start, end, kind in found if _loosen(answer[start:end]) not in known]


def mask(value: str) -> str:
    """The form of a value: digits as 0, letters and signs as x, cut after 24 characters."""
    form = "".join("0" if sign.isdigit() else sign if sign in " -.@:/" else "x" for sign in value)
    return form if len(form) <= _LONGEST_FORM else f"{form[:_LONGEST_FORM]}…"


def cover(answer: str, prompt: Sequence[Message], secrets: Sequence[str] = ()) -> str:
    """The answer with what leaks, and with every one of `secrets`, replaced by its kind."""
    for start, end, kind in reversed(find_leaks(answer, prompt)):
        answer = f"{answer[:start]}<{kind} leaked>{answer[end:]}"
    for secret in secrets:
        signs = [re.escape(sign) for sign in _LOOSE.sub("", secret)] or [re.escape(secret)]
        answer = re.sub(r"[\W_]*".join(signs), "<CANARY leaked>", answer, flags=re.IGNORECASE)
    return answer


def cover_line(line: Mapping[str, Any], secrets: Sequence[str] = ()) -> dict[str, Any]:
    """A line of `answers.jsonl` with both models' answers covered."""
    prompt = line.get("prompt") or ()
    covered = {
        name: cover(said, prompt, secrets) for name in _ANSWERS if isinstance(said := line.get(name), str) and said
    }
    return {**line, **covered}


def _loosen(text: str) -> str:
    return _LOOSE.sub("", text).casefold()
