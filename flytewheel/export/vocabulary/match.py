"""Which layout gives the tokenizer's own ids: every candidate is opened in llama.cpp and compared, text by text.

Names and patterns decide nothing: what counts is that all texts of the battery, the chats that the template writes and
words of the vocabulary have the same ids. What llama.cpp cannot be told and is let through, each with its limit said
(`Match.limits`), is in `domain`. Anything else that differs is refused, with the candidate that came closest and the
first text on which it fails.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flytewheel.errors import ExportError
from flytewheel.export.vocabulary import battery
from flytewheel.export.vocabulary.chat import list_chats
from flytewheel.export.vocabulary.domain import is_composed, list_domains
from flytewheel.export.vocabulary.layout import Layout, list_layouts, read_raw
from flytewheel.export.vocabulary.probe import Vocabulary, opened, written
from flytewheel.export.vocabulary.special import Specials

_SHOWN_IDS = 16
_SHORT = 240  # texts on which every candidate is compared; only one that passes them sees the others
_COUNTED = 25


@dataclass(frozen=True, slots=True)
class Match:
    """The layout that fits, and for which text it does where that is not all; `ends_missed` are end tokens that
    llama.cpp would write on behind."""

    layout: Layout
    limits: tuple[str, ...] = ()
    ends_missed: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Difference:
    """How many texts a candidate fails on, and the first of them; `far` where it fails on short ones already."""

    layout: Layout
    far: bool
    count: int
    text: str
    expected: list[int]
    got: list[int]

    def __str__(self) -> str:
        start = next(
            (n for n, (a, b) in enumerate(zip(self.expected, self.got, strict=False)) if a != b),
            min(len(self.expected), len(self.got)),
        )
        start = max(0, start - 2) if max(len(self.expected), len(self.got)) > _SHOWN_IDS else 0
        shown = [
            f"{'…, ' if start else ''}{', '.join(map(str, ids[start : start + _SHOWN_IDS]))}"
            f"{', …' if len(ids) > start + _SHOWN_IDS else ''}"
            for ids in (self.expected, self.got)
        ]
        return f"{self.text[:120]!r} is [{shown[0]}] for the tokenizer but [{shown[1]}] for llama.cpp"


def find_match(tokenizer: Any, size: int, specials: Specials, folder: Path | None = None) -> Match:
    """The first layout whose ids are the tokenizer's, for as wide a domain of texts as there is.

    Args:
        tokenizer: A fast tokenizer of transformers.
        size: Rows of the model's embedding.
        specials: Of the tokenizer.
        folder: The model's, for `tokenizer.model`.

    Raises:
        ExportError: the tokenizer is of no kind that llama.cpp has, or none of its ways gives the same ids.
    """
    raw = read_raw(tokenizer)
    words = battery.list_words(raw, tokenizer)
    added = [token["content"] for token in raw["added_tokens"]]
    fixed = sorted(battery.list_texts() + battery.list_texts_with_tokens(added), key=len)
    chats = [text for text in list_chats(tokenizer) if is_composed(text)]
    closest: Difference | None = None
    for domain in list_domains(raw, tokenizer):
        selected = domain.select(fixed)
        short = _encode(tokenizer, selected[:_SHORT])
        long = _encode(tokenizer, [*selected[_SHORT:], *chats, *domain.select(words)])
        for group, candidates in list_layouts(raw, size, folder):
            with written(group, specials) as path:
                for candidate in candidates:
                    with opened(path, candidate) as vocabulary:
                        if vocabulary is None:
                            continue
                        found = _compare(candidate, vocabulary, short, closest, far=True)
                        found = found or _compare(candidate, vocabulary, long, closest, far=False)
                        if found is None:
                            missed = tuple(end for end in specials.ends if not vocabulary.ends_with(end))
                            return Match(candidate, domain.limits, missed)
                    if closest is None or (found.far, found.count) < (closest.far, closest.count):
                        closest = found
    raise ExportError(_refuse(closest))


def _refuse(closest: Difference | None) -> str:
    if closest is None:
        return "llama.cpp opens none of the ways to write this tokenizer; take a base of a family that it knows"
    return (
        f"no way of llama.cpp's to split text gives this tokenizer's ids: the closest, {closest.layout.pre!r} "
        f"({closest.layout.model}), fails on {_count(closest)}; {closest}; take a base whose tokenizer llama.cpp knows"
    )


def _count(closest: Difference) -> str:
    if closest.far:
        return f"{closest.count} of {_SHORT} short texts"
    return f"{closest.count}{' and more' if closest.count == _COUNTED else ''} long texts or words of its own"


def _encode(tokenizer: Any, texts: Sequence[str]) -> list[tuple[str, list[int]]]:
    if not texts:
        return []
    encoded = tokenizer(list(texts), add_special_tokens=False)["input_ids"]
    return [(text, list(ids)) for text, ids in zip(texts, encoded, strict=True)]


def _compare(
    layout: Layout, vocabulary: Vocabulary, texts: list[tuple[str, list[int]]], closest: Difference | None, *, far: bool
) -> Difference | None:
    """How many texts differ, up to as many as make the candidate no closer than `closest`, and the shortest of them.

    Texts that differ go to the front: what one candidate fails on, the next ones often do, too, and some of llama.cpp's
    patterns take a millisecond a text.
    """
    most = _COUNTED if not far else len(texts)
    if closest is not None and (closest.far == far or far):
        most = closest.count if closest.far == far else 1
    failed = []
    for text, expected in texts:
        got = vocabulary.tokenize(text)
        if got != expected:
            failed.append((text, expected, got))
            if len(failed) >= most:
                break
    if not failed:
        return None
    seen = {text for text, _, _ in failed}
    texts.sort(key=lambda row: row[0] not in seen)
    return Difference(layout, far, len(failed), *min(failed, key=lambda row: (len(row[0]), row[0])))
