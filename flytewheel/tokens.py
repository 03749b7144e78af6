"""Counts tokens as the base model does, and tells whether a text's length lies in a range, mostly without encoding it.

Two bounds are exact for byte-level and byte-fallback tokenizers that know every byte, nearly all of today's: a token
covers at least one byte, so a text has at most as many tokens as UTF-8 bytes; and where no token of the vocabulary
spans two words, it has at least as many as words. Between the bounds, where no token has white space behind other
signs, nothing ever merges across a single space in front of a word: a text has as many tokens as its words with their
spaces, whose counts are remembered; what they bound is looked up for many texts at once (`pieces`). Where a tokenizer
grants none of this, every text is encoded. Measured with the bundled tokenizer and a limit of 1000 tokens on answers of
780 bytes, a fifth of them above 1000: 10 µs a text, half of it for what the first hundreds teach; encoding takes 280.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from flytewheel import weights
from flytewheel.models import load_tokenizer, locate_base
from flytewheel.pieces import PieceCounts
from flytewheel.recipe import BaseModelSpec
from flytewheel.words import cut_texts

_SPANS_WORDS = re.compile(r"\S\s+\S")
_ENDS_WITH_SPACE = re.compile(r"\S ")
_BEFORE_WORD = re.compile(r"(?<=\S) (?=\S)")
_RUNS = ("  ", " \n", "\n ", "\t", "\r", "\x0b", "\x0c", "\x1c", "\x1d", "\x1e", "\x1f")
_SPLITTERS = {"ByteLevel", "Split", "Digits", "Punctuation"}
_KEEPS_ASCII = {"NFC", "NFD", "NFKC", "NFKD", "Lowercase"}  # a sign stays a sign
_PROBES = (
    "a", "Word", "longer-word,", "it's", "12", "1234567", "3.14", "(x)", "!?", "`f(a)`", "_b_", "a\nb", "é", "词语",
    "🙂", "x" * 40,
)  # fmt: skip
_REMEMBERED = 200_000
_FIRST_TEXTS = 8


def _list_bytes() -> dict[str, int]:
    """The signs that byte-level tokenizers write for bytes: printable ones as they are, the others from 256 on."""
    printable = (*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100))
    others = (code for code in range(256) if code not in printable)
    return {chr(code): code for code in printable} | {chr(256 + n): code for n, code in enumerate(others)}


_BYTES = _list_bytes()


class TokenCounter:
    """Counts the tokens of texts, special tokens aside. Can be sent to other processes."""

    def __init__(self, spec: BaseModelSpec) -> None:
        self._spec = spec
        self._tokenizer: Any = None
        self._bytes_bound = self._ascii_bound = self._words_bound = self._adds_up = False
        self._counts: dict[str, int] = {}
        self._pieces = PieceCounts()

    def __reduce__(self) -> tuple[type[TokenCounter], tuple[BaseModelSpec]]:
        return TokenCounter, (self._spec,)

    def __call__(self, text: str) -> int:
        """Tokens of one text.

        Raises:
            BaseModelError: the tokenizer cannot be loaded.
        """
        return len(self._load().encode(text, add_special_tokens=False).ids)

    def judge_lengths(self, texts: Sequence[str], low: int, high: int) -> list[int]:
        """Says of each text whether it has fewer than `low` tokens (-1), more than `high` (1) or neither (0).

        Raises:
            BaseModelError: the tokenizer cannot be loaded.
        """
        self._load()
        told: dict[str, int] = {}
        summed = []
        for text in dict.fromkeys(texts):
            known = self._judge(text, low, high)
            if known is not None:
                told[text] = known
            elif self._adds_up and (self._bytes_bound or text.isascii()):
                summed.append(text)
            else:
                told[text] = _compare(self(text), low, high)
        told.update(zip(summed, self._judge_pieces(summed, low, high), strict=True))
        return [told[text] for text in texts]

    def _judge(self, text: str, low: int, high: int) -> int | None:
        """What bytes and words tell of a text; `None` where they do not."""
        plain = text.isascii()
        if self._bytes_bound or (self._ascii_bound and plain):
            size = len(text) if plain else len(text.encode(errors="replace"))
            if size + 1 < low:
                return -1
            if size + 1 <= high and self._words_bound and len(text.split(None, low)) >= low:
                return 0
        return None

    def _judge_pieces(self, texts: Sequence[str], low: int, high: int) -> list[int]:
        """Judges texts that have as many tokens as their pieces; those that must be counted teach the next ones."""
        told = []
        for start, stop in _cut_growing(texts):
            least, most = (tokens.tolist() for tokens in self._pieces.bound(texts[start:stop]))
            for text, fewest, utmost in zip(texts[start:stop], least, most, strict=True):
                sure = _compare(fewest, low, high) == (known := _compare(utmost, low, high))
                told.append(known if sure else _compare(self._add_up(text), low, high))
        return told

    def _add_up(self, text: str) -> int:
        if text.isascii() and not any(run in text for run in _RUNS):
            first, *words = text.split(" ")
        else:
            first, *words = _BEFORE_WORD.split(text)
        counts = self._counts
        try:
            return self(first) + sum(map(counts.__getitem__, words))
        except KeyError:
            if len(counts) > _REMEMBERED:
                counts.clear()
            fresh = [word for word in dict.fromkeys(words) if word not in counts]
            encoded = self._tokenizer.encode_batch_fast([f" {word}" for word in fresh], add_special_tokens=False)
            sizes = [len(one.ids) for one in encoded]
            counts |= zip(fresh, sizes, strict=True)
            self._pieces.learn(fresh, sizes)
        return self(first) + sum(map(counts.__getitem__, words))

    def _load(self) -> Any:
        if self._tokenizer is None:
            file = Path(locate_base(self._spec)) / "tokenizer.json"
            if file.is_file():  # without transformers, whose import takes seconds
                weights.check_file(file)
                from tokenizers import Tokenizer

                self._tokenizer = Tokenizer.from_file(str(file))
            else:
                self._tokenizer = load_tokenizer(self._spec)._tokenizer
            self._tokenizer.no_truncation()
            self._tokenizer.no_padding()
            self._find_bounds(json.loads(self._tokenizer.to_str()))
        return self._tokenizer

    def _find_bounds(self, config: dict[str, Any]) -> None:
        """Finds out which of the module's bounds this tokenizer grants; what is not known to grant one does not."""
        model, added = config["model"], config["added_tokens"]
        normalizers = _list_parts(config.get("normalizer"), "normalizers")
        splitters = _list_parts(config.get("pre_tokenizer"), "pretokenizers")
        vocabulary = {str(token[0] if isinstance(token, list) else token) for token in model.get("vocab", ())}
        affixed = bool(model.get("continuing_subword_prefix") or model.get("end_of_word_suffix"))
        bytewise = not affixed and _is_bytewise(model, vocabulary, splitters)
        marked = not affixed and _is_marked(model, vocabulary, splitters)
        prefixed = any(_adds_prefix(part) for part in (*normalizers, *splitters))
        # With a space put in front of what follows an added token, that is a token more for each.
        if prefixed and any(len(token["content"].encode()) < 2 for token in added):
            bytewise = marked = False
        self._bytes_bound = (bytewise and not normalizers) or (marked and all(map(_marks_spaces, normalizers)))
        self._ascii_bound = self._bytes_bound or (bytewise and {part["type"] for part in normalizers} <= _KEEPS_ASCII)
        spelt = [_spell(token) if bytewise else token.replace("▁", " ") for token in vocabulary]
        spelt += [token["content"] for token in added]
        self._words_bound = not any(map(_SPANS_WORDS.search, spelt))
        self._adds_up = (
            bytewise
            and self._ascii_bound
            and not model.get("dropout")
            and not any(token["lstrip"] or token["rstrip"] for token in added)
            and not any(map(_ENDS_WITH_SPACE.search, spelt))
            and _splits_at_words(self._tokenizer.pre_tokenizer)
        )


def _compare(count: int, low: int, high: int) -> int:
    return -1 if count < low else int(count > high)


def _cut_growing(texts: Sequence[str]) -> Iterator[tuple[int, int]]:
    """Ranges of texts, few at first: nothing is known then, and each text that is counted teaches most words."""
    start, size = 0, _FIRST_TEXTS
    while start < len(texts):
        yield from ((start + first, start + last) for first, last in cut_texts(texts[start : start + size]))
        start, size = start + size, 2 * size


def _list_parts(part: dict[str, Any] | None, key: str) -> list[dict[str, Any]]:
    if part is None:
        return []
    return [each for one in part[key] for each in _list_parts(one, key)] if part["type"] == "Sequence" else [part]


def _is_bytewise(model: dict[str, Any], vocabulary: set[str], splitters: list[dict[str, Any]]) -> bool:
    """Whether every byte is a token or part of one, and none is lost."""
    keeps = all(part["type"] in _SPLITTERS and part.get("behavior") != "Removed" for part in splitters)
    return (
        model.get("type") == "BPE"
        and keeps
        and [part["type"] for part in splitters].count("ByteLevel") == 1
        and (len(splitters) == 1 or not any(map(_adds_prefix, splitters)))  # else each piece gets its space
        and vocabulary.issuperset(_BYTES)
    )


def _is_marked(model: dict[str, Any], vocabulary: set[str], splitters: list[dict[str, Any]]) -> bool:
    """Whether a space is a mark, and what is unknown its bytes."""
    return (
        bool(model.get("byte_fallback"))
        and all(part["type"] == "Metaspace" and part["replacement"] == "▁" for part in splitters)
        and vocabulary.issuperset(("▁", *(f"<0x{code:02X}>" for code in range(256))))
    )


def _marks_spaces(part: dict[str, Any]) -> bool:
    if part["type"] == "Prepend":
        return bool(part["prepend"] == "▁")
    return part["type"] == "Replace" and (part["pattern"], part["content"]) == ({"String": " "}, "▁")


def _adds_prefix(part: dict[str, Any]) -> bool:
    if part["type"] == "Metaspace":
        return bool(part.get("prepend_scheme", "always") != "never")
    return part["type"] == "Prepend" or bool(part.get("add_prefix_space"))


def _spell(token: str) -> str:
    """The text of a byte-level token; half a sign of several bytes is none."""
    if any(sign not in _BYTES for sign in token):
        return token
    return bytes(_BYTES[sign] for sign in token).decode(errors="replace")


def _splits_at_words(splitter: Any) -> bool:
    """Whether a text is split as its words are, tried out on words of every kind: patterns can be anything."""
    pairs = [f"{first} {second}" for first in _PROBES for second in _PROBES]
    for text in (*pairs, " ".join(pairs)):
        first, *words = text.split(" ")
        pieces = [piece for piece, _ in splitter.pre_tokenize_str(text)]
        alone = [first, *(f" {word}" for word in words)]
        if pieces != [piece for part in alone for piece, _ in splitter.pre_tokenize_str(part)]:
            return False
    return True
