"""What a rule of phrases is: what it forbids, what takes a finding back, and how both are asked of one text or of many.

Decides nothing by itself. What is forbidden is written so that it means the same to Python's `re` and to Rust's
`regex` (`spelling`); what takes it back has look-around, which only Python knows, and is looked for only where
something was found. For many texts Rust says where something is forbidden, 5 ns a byte, where Python's `re`, which
tries hundreds of alternatives at every word, takes 1,000.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import polars as pl

from flytewheel.screens.spelling import loosen, widen

_OTHER_SCRIPT = re.compile("[\u0370-\u1cff\u3040-\ud7ff]")


@dataclass(frozen=True)
class Rule:
    """Phrases that are forbidden, but for those that are harmless.

    Attributes:
        forbidden: Expressions; a text breaks the rule where one of them matches. Several, because an automaton that
            outgrows the cache of Rust's `regex` is built anew again and again.
        harmless: What is blotted out before a second look.
        gates: Where given, cheaper expressions of which one matches wherever one of `forbidden` does.
    """

    forbidden: tuple[str, ...]
    harmless: str
    gates: tuple[str, ...] = ()

    # Python's take 0.3 s to compile, which a worker that judges many texts at once need not spend.
    @cached_property
    def _forbidden(self) -> re.Pattern[str]:
        return re.compile("|".join(self.forbidden))

    @cached_property
    def _harmless(self) -> re.Pattern[str]:
        return re.compile(self.harmless)

    @cached_property
    def _may_excuse(self) -> str:
        return widen(loosen(self.harmless))

    def search(self, plain: str) -> str | None:
        """What breaks the rule first in a folded text; `None` where nothing does."""
        plain = plain.rstrip("\n")  # before which Python's `$` matches, and Rust's does not
        found = self._forbidden.search(plain)
        if found is not None:
            found = self._forbidden.search(self._blot(plain))
        return found.group().strip() if found else None

    def search_many(self, column: pl.Series) -> set[int]:
        """The rows whose folded texts break the rule; none ends with a line end (`to_column`)."""
        return self.confirm(column, self.touch(column))

    def touch(self, column: pl.Series) -> pl.Series:
        """The rows that may break the rule: those where a gate matches."""
        return touch(column, self.gates or self.forbidden)

    def confirm(self, column: pl.Series, rows: pl.Series) -> set[int]:
        """Those of the rows, which `touch` found, that break the rule."""
        texts = column.gather(rows)
        if self.gates:
            sure = touch(texts, self.forbidden)
            rows, texts = rows.gather(sure), texts.gather(sure)
        broken = set(rows.to_list())
        excused = touch(texts, (self._may_excuse,))
        rows, texts = rows.gather(excused), to_column([self._blot(text) for text in texts.gather(excused).to_list()])
        return broken.difference(rows.to_list()).union(rows.gather(touch(texts, self.forbidden)).to_list())

    def _blot(self, plain: str) -> str:
        # Same length, so that no two words meet that did not.
        return self._harmless.sub(lambda harmless: "\x00" * len(harmless.group()), plain)


@dataclass(frozen=True)
class ScriptRule:
    """Phrases in other letters than Latin ones that are forbidden; they have look-around, so that Rust only gates."""

    phrases: tuple[str, ...]

    @cached_property
    def _forbidden(self) -> re.Pattern[str]:
        return re.compile(self._joined)

    @cached_property
    def _joined(self) -> str:
        return "|".join(unicodedata.normalize("NFC", phrase) for phrase in self.phrases)

    def search(self, plain: str) -> str | None:
        """What breaks the rule first in a folded text; `None` where nothing does."""
        found = self._forbidden.search(plain.rstrip("\n")) if _OTHER_SCRIPT.search(plain) else None
        return found.group().strip() if found else None

    def search_many(self, column: pl.Series, foreign: Sequence[int]) -> set[int]:
        """The rows of `foreign`, those that are not ASCII, whose folded texts break the rule."""
        rows = pl.Series(foreign, dtype=pl.UInt32)
        rows = rows.gather(touch(column.gather(rows), (loosen(self._joined),)))
        return {row for row in rows.to_list() if self.search(column[row])}


def to_column(texts: Sequence[str]) -> pl.Series:
    """Folded texts for Rust: Python's `$` matches before a last line end, Rust's does not; the rules strip it too."""
    return pl.Series(texts, dtype=pl.String).str.strip_chars_end("\n")


def touch(column: pl.Series, patterns: Sequence[str]) -> pl.Series:
    """The rows, ascending, in which one of the patterns matches."""
    rest = pl.int_range(len(column), eager=True, dtype=pl.UInt32)
    touched = [rest.clear()]
    for pattern in patterns:
        if rest.is_empty():
            break  # a pattern takes 10 ms to compile
        hits = column.str.contains(pattern)
        touched.append(rest.filter(hits))
        rest, column = rest.filter(~hits), column.filter(~hits)
    return pl.concat(touched).sort()
