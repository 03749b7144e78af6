"""Whether an answer degenerated, and by what cause: it is empty, it loops (`loops`), or it did not stop as it should.

A wrong stop is an answer that runs into the limit without an end token, or that goes on past its own end: a special
token or a marker of a chat template in the text, or a next turn that the model made up. Where the reference itself
leaves no room for an end token, the limit cuts every good answer, so nothing can be said of that row, unless there are
markers. A marker that the prompt or the reference holds, too, is what the answer is about.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

from flytewheel.evaluation.asking import Reply
from flytewheel.loops import is_looping
from flytewheel.records import Message

_MARKERS = re.compile(
    r"<[|｜][^\s<>|｜]{1,40}[|｜]>"  # <|im_start|>, <|eot_id|>, <｜end▁of▁sentence｜>
    r"|</?s>(?=\s*(?:\Z|\[INST\]|<s>))|\[/?INST\]|<</?SYS>>|<(?:start|end)_of_turn>|\[/?(?:gMASK|UNUSED_TOKEN_\d+)\]"
    r"|<(?:bos|eos|pad|unk|sop|eop)>",
    re.IGNORECASE,
)
# A line that opens a turn: "user:", "### Instruction:", "<user>", or the bare role that is left of "<|im_start|>user".
_TURN = re.compile(
    r"^[ \t]*(?:#{2,4}\s*(?:instruction|response|human|user|assistant|input)\s*:?[ \t]*$"
    r"|(?:\*\*)?(?:user|human|assistant|system)(?:\*\*)?\s*[:：](?:\*\*)?(?:[ \t]*$|[ \t]+\S+[ \t]+\S)"
    r"|(?:user|human|assistant|system)[ \t]*$)",
    re.IGNORECASE | re.MULTILINE,
)
_ROLE = re.compile(r"user|human|assistant|system|instruction|response|input", re.IGNORECASE)
_FENCE = re.compile(r"^[ \t]*(?:```|~~~).*?(?:^[ \t]*(?:```|~~~)[ \t]*$|\Z)", re.DOTALL | re.MULTILINE)
_INVISIBLE = frozenset("\u115f\u1160\u2800\u3164\uffa0\ufffd")  # blank, whatever their category says
_BLANK = frozenset({"Cc", "Cf", "Cn", "Co", "Cs", "Mn", "Zl", "Zp", "Zs"})


@dataclass(frozen=True, slots=True)
class Degeneration:
    """What is wrong with one answer. `unstopped` is `None` where that cannot be told."""

    empty: bool
    looping: bool
    unstopped: bool | None

    @property
    def any(self) -> bool:
        return self.empty or self.looping or bool(self.unstopped)


def examine(
    reply: Reply, reference: str, prompt: Sequence[Message], *, reference_tokens: int | None, max_new_tokens: int
) -> Degeneration:
    """Finds what is wrong with an answer.

    Args:
        reply: The answer.
        reference: What it might have said.
        prompt: What was asked.
        reference_tokens: Length of the reference without an end token; `None`: not known, and it fits.
        max_new_tokens: The limit that the answer was given.
    """
    told = "\n".join([reference, *(message.content for message in prompt)])
    unstopped: bool | None = True
    if not (reply.specials or find_markers(reply.text, told)):
        fits = reference_tokens is None or reference_tokens < max_new_tokens
        unstopped = (not reply.ended) if fits or reply.ended else None
    return Degeneration(is_empty(reply.text), is_looping(reply.text, ended=reply.ended), unstopped)


def is_empty(answer: str) -> bool:
    """Whether an answer has nothing to see: white space, control and format characters, lone marks."""
    return all(sign in _INVISIBLE or unicodedata.category(sign) in _BLANK for sign in answer)


def find_markers(answer: str, told: str = "") -> list[str]:
    """Markers of chat templates and openings of turns in an answer that do not stand in `told` as well."""
    known = told.lower()
    found = [mark for mark in _MARKERS.findall(answer) if mark.lower() not in known]
    for match in _TURN.finditer(_FENCE.sub("", answer)):
        role = _ROLE.search(match[0])
        if role is not None and not re.search(rf"^\W*{role[0]}\W*(?::|：|$)", told, re.IGNORECASE | re.MULTILINE):
            found.append(match[0].strip())
    return found
