"""What of a prompt is compared: the words of its query, and of everything before it, apart.

Normalising folds case and width (NFKC) and drops punctuation; in scripts without spaces every sign is a word.
Both `normalise` and `normalise_all`, which gives the same text by text, take a short way where a text is ASCII, as NFKC
and the regular expression then change nothing that `str.translate` cannot say.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from hashlib import blake2b

from flytewheel.curation.whitespace import squeeze_chunks
from flytewheel.records import Message

_WIDE = "぀-ヿ㐀-鿿가-힯"  # scripts without spaces: each sign is a word
_WORD = re.compile(rf"[{_WIDE}]|[^\W{_WIDE}]+")
_ASCII_WORDS = "".join(chr(code).lower() if _WORD.fullmatch(chr(code)) else " " for code in range(128))
_ASCII_TABLE = _ASCII_WORDS.encode("ascii") + bytes(128)


@dataclass(frozen=True)
class PromptText:
    """A prompt as it is compared: lower-case words of the query, and of everything before it."""

    query: str
    background: str = ""

    @cached_property
    def key(self) -> str:
        """32 hexadecimal digits, the name of this prompt and of all that are normalised alike."""
        return digest_prompt(self.query, self.background).hex()

    @cached_property
    def numbers(self) -> tuple[str, ...]:
        """Words with a digit, in their order: two questions that differ there have different answers."""
        return tuple(word for word in f"{self.query} {self.background}".split() if any(c.isdigit() for c in word))


def describe_prompt(prompt: Sequence[Message], system_prompt: str | None = None) -> PromptText:
    """Normalises a prompt. The recipe's own `system_prompt` opens every prompt and says nothing about this one."""
    query, background = join_prompt(prompt, system_prompt)
    return PromptText(normalise(query), normalise(background))


def join_prompt(prompt: Sequence[Message], system_prompt: str | None = None) -> tuple[str, str]:
    """The query and what stands before it, as they are written: columns of these go to `normalise_all`."""
    *before, last = prompt
    texts = []
    for message in before:
        text = message.content
        if message.role == "system" and system_prompt:
            text = text.removeprefix(system_prompt)
        texts.append(text)
    return last.content, "\n".join(texts)


def normalise(text: str) -> str:
    """Words in lower case, one space apart, without punctuation."""
    if text.isascii():
        return " ".join(text.translate(_ASCII_WORDS).split())
    return " ".join(_WORD.findall(unicodedata.normalize("NFKC", text).casefold()))


def normalise_all(texts: Sequence[str]) -> list[str]:
    """`normalise` of each; equal texts are computed once and come back as one object."""
    known = dict.fromkeys(texts, "")
    distinct = list(known)
    for start, pieces, _ in squeeze_chunks(distinct, _ASCII_TABLE):
        for text, piece in zip(distinct[start : start + len(pieces)], pieces, strict=True):
            known[text] = piece.decode("ascii") if text.isascii() else normalise(text)
    return [known[text] for text in texts]


def spread_words(texts: Sequence[str]) -> list[str]:
    """Texts with the words of `normalise`, but white space of any kind and length between them and around."""
    return [text.translate(_ASCII_WORDS) if text.isascii() else normalise(text) for text in texts]


def digest_prompt(query: str, background: str) -> bytes:
    """The 16 bytes that name a normalised prompt."""
    return blake2b(f"{query}\n{background}".encode("utf-8", "surrogatepass"), digest_size=16).digest()
