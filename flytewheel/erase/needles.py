"""What to look for where rows have no ids: the person's names, and pieces of their texts that nobody else said.

A piece is a whole text, one of its lines or sentences, its beginning (reports show texts cut off), or `WINDOW` words of
it in a row (somebody may quote any part), of at least `LEAST` characters. Pieces that occur in what anybody else said
are dropped: they are not the person's alone, and whoever searched for them would take other people's rows. All pieces
are searched at once, so the time does not grow with their number: in short texts by the beginnings of pieces, in long
ones by Polars (Aho–Corasick 1975), whose every call costs 2 ms.

A name counts where it stands by itself. One that is short or a mere number (`7`, `bob`) counts only as the whole value
of a field that holds names: it stands everywhere else by chance.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

LEAST = 12
WINDOW = 4  # words in a row, of `LEAST_WINDOW` characters together; or so many signs where there are no spaces
LEAST_WINDOW, SIGNS = 20, 12
HEADS = (32, 60)  # characters of the beginnings that are looked for
ERASED = "[erased]"
GONE = object()  # what `Needles.scrub` makes of a value that is the person's as a whole
_LEAST_NAME = 6
_FEW, _LONG = 40, 20_000  # patterns that are searched one by one; characters from which Polars is quicker
_SENTENCES = re.compile(r"(?<=[.!?。！？])\s+|[\r\n]+")
_PUNCTUATION = ".,;:!?\"')]}…"
_WORDS = re.compile(r"[^\W_]{4,}")
_BOUNDARY = r"[A-Za-z0-9_@-]"
_FIELDS = r"user|user_id|reviewer|interaction_id|event_id|id|row_id|unit"


class Needles:
    """The pieces and names of one person; `person` decides which JSON objects are theirs as a whole."""

    def __init__(self, person: Any, texts: Iterable[str], others: Iterable[list[str]]) -> None:
        """Takes the pieces of `texts` that are in none of `others`, batch by batch."""
        import polars as pl

        self.person = person
        kept = list(texts)
        pieces = {piece for text in kept for piece in cut_pieces(text)}
        words = {word for text in kept for word in _WORDS.findall(text.lower())}
        for batch in others:
            if not pieces and not words:
                break
            words.difference_update(*(_WORDS.findall(text.lower()) for text in batch))
            found = pl.Series(batch, dtype=pl.String).str.extract_many(sorted(pieces), overlapping=True)
            pieces.difference_update(found.explode().drop_nulls().to_list())
        self._words = frozenset(words)
        # A piece that holds another one adds nothing to a search, but a replacement should take the longest.
        self.pieces = sorted(pieces, key=lambda piece: (-len(piece), piece))
        strong = sorted((name for name in person.ids if _is_strong(name)), key=lambda name: (-len(name), name))
        self._strong = frozenset(strong)
        self._weak = frozenset(person.ids) - self._strong
        self._stems = _Search(strong)
        self._search = _Search(self.pieces)
        joined = "|".join(map(re.escape, sorted(self._weak)))
        self._fields = re.compile(rf'\\?"(?:{_FIELDS})\\?"\s*:\s*\\?"(?:{joined})\\?"') if joined else None

    def finds(self, text: str) -> bool:
        """Whether a text holds a name or a piece."""
        if not text:
            return False
        if self.quotes(text):
            return True
        if self._fields is not None and self._fields.search(text):
            return True
        return any(self._standing(name, text) for name in self._stems.find(text))

    def quotes(self, text: str) -> bool:
        """Whether a text holds words of the person's, or their user id; the ids of their rows do not count."""
        if self._search.find(text):
            return True
        return any(self._standing(name, text) for name in self.person.names if name in self._strong and name in text)

    def names(self, label: str) -> bool:
        """Whether a label made of words (a topic, a theme) is the person's: by a word that nobody else ever used."""
        return self.finds(label) or not self._words.isdisjoint(_WORDS.findall(label.lower()))

    def clean(self, text: str) -> str:
        """The text with every name and piece replaced."""
        if not self.finds(text):
            return text
        for piece in self._search.find(text):
            text = text.replace(piece, ERASED)
        for name in self._stems.find(text):
            text = re.sub(_alone(name), ERASED, text)
        if self._fields is not None:
            text = self._fields.sub(f'"erased":"{ERASED}"', text)
        return text

    def scrub(self, value: Any) -> Any:
        """JSON-like without what is the person's: objects of theirs go from their lists, texts are replaced.

        Returns:
            The value, the very same where nothing was found; `GONE` where it is the person's as a whole.
        """
        if isinstance(value, str):
            return GONE if value in self._strong else self.clean(value)
        if isinstance(value, dict):
            if self.person.owns(value):
                return GONE
            return self._scrub_object(value)
        if isinstance(value, list):
            kept = [(item, self.scrub(item)) for item in value]
            if all(item is clean for item, clean in kept):
                return value
            return [clean for _, clean in kept if clean is not GONE]
        return value

    def _scrub_object(self, value: dict[str, Any]) -> dict[str, Any]:
        changed, found = False, {}
        for key, item in value.items():
            clean = self.scrub(item) if not isinstance(item, str) else self._scrub_field(key, item)
            if clean is GONE or key in self._strong or self.finds(key):
                changed = True
                if isinstance(item, str) and clean is GONE and key not in self._strong:
                    found[key] = ERASED
                continue
            changed = changed or clean is not item
            found[key] = clean
        return found if changed else value

    def _scrub_field(self, key: str, item: str) -> Any:
        if item in self._weak:  # elsewhere a short name stands by chance
            return GONE if re.fullmatch(_FIELDS, key) else item
        return self.scrub(item)

    def _standing(self, name: str, text: str) -> bool:
        return re.search(_alone(name), text) is not None


class _Search:
    """Which of some patterns a text holds."""

    def __init__(self, patterns: Sequence[str]) -> None:
        self._patterns = tuple(patterns)
        self._width = min(map(len, patterns), default=0)
        self._heads: dict[str, list[str]] = {}
        for pattern in patterns:
            self._heads.setdefault(pattern[: self._width], []).append(pattern)

    def find(self, text: str) -> list[str]:
        """Those that `text` holds, in their order."""
        if not self._patterns or len(text) < self._width:
            return []
        if len(self._patterns) <= _FEW:
            return [pattern for pattern in self._patterns if pattern in text]
        if len(text) < _LONG:
            found = set()
            for place in range(len(text) - self._width + 1):
                for pattern in self._heads.get(text[place : place + self._width], ()):
                    if text.startswith(pattern, place):
                        found.add(pattern)
        else:
            import polars as pl

            found = set(pl.Series([text]).str.extract_many(list(self._patterns), overlapping=True)[0].to_list())
        return [pattern for pattern in self._patterns if pattern in found] if found else []


def cut_pieces(text: str) -> Iterator[str]:
    """The pieces of a text by which it is recognised, as it stands and with its white space made one."""
    for form in {text.strip(), " ".join(text.split())}:
        if len(form) >= LEAST:
            yield form
        for length in HEADS:
            if len(form) > length:
                yield form[:length]
        for part in _SENTENCES.split(form):
            if len(part.strip()) >= LEAST:
                yield part.strip()
        yield from _cut_windows(form)


def _cut_windows(text: str) -> Iterator[str]:
    words = list(re.finditer(r"\S+", text))
    for first, last in zip(words, words[WINDOW - 1 :], strict=False):
        if last.end() - first.start() >= LEAST_WINDOW:
            yield text[first.start() : last.end()].rstrip(_PUNCTUATION)
    for word in words:  # a script without spaces
        if len(word[0]) > 2 * SIGNS and not word[0].isascii():
            yield from (word[0][place : place + SIGNS] for place in range(len(word[0]) - SIGNS + 1))


def _is_strong(name: str) -> bool:
    return len(name) >= _LEAST_NAME and not name.isdigit()


def _alone(name: str) -> str:
    return rf"(?<!{_BOUNDARY}){re.escape(name)}(?!{_BOUNDARY})"
