"""Which spans of an answer its context supports.

A span is supported when some text of the context holds it after normalisation: numbers by value (`numbers`), commands
token by token with flags in any order and placeholders filled in, identifiers letter by letter, names without case,
plural and possessive, quoted words as they stand. What the user said is context, too. Strict where a slip is dangerous:
an identifier that differs in one letter, a command that lacks a flag in its middle, a sum, and what is merely well
known are all unsupported.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

from flytewheel.evaluation.groundedness import dates, identifiers, matching, numbers, view
from flytewheel.evaluation.groundedness.figure import Figure, Key
from flytewheel.evaluation.groundedness.names import is_role
from flytewheel.evaluation.groundedness.spans import Span, find_spans

_CODE = re.compile(r"(?<![^\W_])([^\W\d_]{1,12})[-_ ]?(\d{1,12})(?![^\W_])")
_VERSION = re.compile(r"(?<![\w.])(?:v|V|version |Version )?(\d+(?:\.\d+){1,4})(?![\w]|\.\d)")
_GROUPS = re.compile(r"(?<![\d.,])\d{2,6}(?:[ ()/-]{1,3}\d{2,6}){1,6}(?!\d)")
_CASED = re.compile(r"_|[a-z][A-Z]|[/\\]")


@dataclass(frozen=True, slots=True)
class Checked:
    """An answer's spans, and which of them the context does not support."""

    spans: tuple[Span, ...]
    unsupported: tuple[Span, ...] = field(default=())


def check(answer: str, context: Context | Sequence[str]) -> Checked:
    """Reads an answer against its context.

    Args:
        answer: What the model said.
        context: The texts that it may rest on: passages, and what the user said.

    Returns:
        Its spans in order, and those that no text of the context holds.
    """
    known = context if isinstance(context, Context) else Context(context)
    spans = find_spans(answer)
    return Checked(spans, tuple(span for span in spans if not known.supports(span)))


class Context:
    """The texts that an answer may rest on, read once."""

    def __init__(self, texts: Sequence[str]) -> None:
        self._texts = [_Text(text) for text in texts]
        self._offers: set[Key] = set().union(*(text.offers for text in self._texts)) if texts else set()
        self._values: dict[str, list[float]] = defaultdict(list)
        for key in self._offers:
            if len(key) == 2 and isinstance(key[0], str) and isinstance(key[1], float):
                self._values[key[0]].append(key[1])
        self._seen: dict[tuple[str, str, Figure | None], bool] = {}

    def supports(self, span: Span) -> bool:
        """Whether some text holds the span."""
        key = (span.kind, span.read, span.figure)
        if key not in self._seen:
            copied = any((span.kind, span.read) in text.spans for text in self._texts)
            self._seen[key] = copied or self._look_up(span)
        return self._seen[key]

    def _look_up(self, span: Span) -> bool:
        if span.kind == "number":
            return self._has_number(span)
        if span.kind == "identifier":
            return self._has_identifier(span.read)
        if span.kind == "command":
            return self._has_command(span.read)
        if span.kind == "quote":
            quoted = matching.smooth(span.read.casefold())
            return any(matching.holds_quote(quoted, text.smooth) for text in self._texts)
        return self._has_name(span.read)

    def _has_number(self, span: Span) -> bool:
        if span.figure is not None:
            if any(all(key in self._offers for key in keys) for keys in span.figure.wants):
                return True
            if any(about.fits(value) for about in span.figure.about for value in self._values[about.dimension]):
                return True
            if not any(key[0] == "written" for keys in span.figure.wants for key in keys):
                return False
        written = span.read.casefold()
        return any(matching.find_whole(written, text.folded, matching.fits_number) for text in self._texts)

    def _has_identifier(self, name: str) -> bool:
        bare = name.removesuffix("()").strip("\"'")
        if re.fullmatch(r"<[^<>]*>", bare):
            return True  # a placeholder, which names nothing
        if (code := _CODE.fullmatch(bare)) and ("code", code[1].lower(), code[2]) in self._offers:
            return True
        if (version := _VERSION.fullmatch(bare)) and ("written", version[1]) in self._offers:
            return True
        if "=" in bare and "/" not in bare and all(self._has_part(part) for part in bare.split("=", 1)):
            return True
        names = [bare]
        if bare[:1] in {"#", "@"} and re.search(r"[-_\d]", bare[1:]):
            names.append(bare[1:])
        cased = _CASED.search(bare) is not None and bare[:1] not in {"#", "@"} and "@" not in bare
        if (link := re.match(r"https?://(?:www\.)?", bare, re.IGNORECASE)) and len(bare) > link.end():
            names.append(bare[link.end() :])
        for text in self._texts:
            for each in names:
                hay, needle = (text.read, each) if cased else (text.folded, each.casefold())
                if matching.find_whole(needle, hay, matching.fits_identifier):
                    return True
        return any(text.tokens.holds([bare], self._knows) for text in self._texts)

    def _has_part(self, part: str) -> bool:
        """A side of `name=value`."""
        values = numbers.parse_digits(part) if part[:1].isdigit() else []
        return any(("any", value) in self._offers for value in values) or self._has_identifier(part)

    def _has_command(self, command: str) -> bool:
        tokens = matching.split_command(command)
        if not tokens:
            return True
        if any(text.tokens.holds(tokens, self._knows) for text in self._texts):
            return True
        written = matching.smooth(command)
        return any(matching.find_whole(written, text.spaced, matching.fits_identifier) for text in self._texts)

    def _knows(self, token: str) -> bool:
        """Whether a placeholder may be filled in with this."""
        return any(
            token in text.tokens or matching.find_whole(token.casefold(), text.folded, matching.fits_identifier)
            for text in self._texts
        )

    def _has_name(self, name: str) -> bool:
        words = matching.split_name(name)
        folded = name.casefold()
        for text in self._texts:
            if words and text.names.holds(words):
                return True
            if name.isupper() and name in text.names.acronyms:
                return True
            if matching.find_whole(folded, text.folded, matching.fits_word):
                return True
        leading = name.split(" ", 1)
        if len(words) > 2 and len(leading) > 1 and is_role(leading[0]) and self._has_name(leading[1]):
            return True  # a role before the name
        owner = name.rpartition(" ")[0]
        if len(words) > 2 and owner.endswith("s") and self._has_name(owner):
            return True  # what is theirs: "Peter Webers Leute"
        parts = re.split(r" (?:of|de|la|del|von|van|der|du|di|the|&)+ ", name)
        return len(parts) > 1 and all(self._has_name(part) for part in parts)


class _Text:
    """One text of a context in the forms in which the kinds of spans are looked up."""

    def __init__(self, text: str) -> None:
        self.read = view.read(text).text
        self.folded = self.read.casefold()
        self.smooth = matching.smooth(self.folded)
        self.spaced = matching.smooth(self.read)
        self.tokens = matching.Tokens(self.read)
        self.names = matching.Names(self.read)
        self.offers = frozenset(_list_offers(self.read))
        self.spans = frozenset((span.kind, span.read) for span in find_spans(text))


def _list_offers(text: str) -> set[Key]:
    """What the numbers of a text may mean; dates and times, addresses and hashes are no numbers besides."""
    offers: set[Key] = set()
    mask = view.Mask(text)
    for figure in dates.find_times(text):
        offers |= figure.offers
        mask.hide(figure.start, figure.end)
    for found in _VERSION.finditer(text):
        offers.add(("written", found[1]))
        if found[1].count(".") == 1:
            offers |= {("any", float(found[1])), ("none", float(found[1]))}
    offers |= {("code", found[1].lower(), found[2]) for found in _CODE.finditer(text)}
    for start, end in identifiers.find_identifiers(mask.text):
        if re.search(r"\d", text[start:end]) and not re.fullmatch(r"[#$]\d+", text[start:end]):
            mask.hide(start, end)
    for figure in numbers.find_numbers(mask.text, None):
        offers |= figure.offers
    for found in _GROUPS.finditer(text):
        offers.add(("written", "".join(filter(str.isdecimal, found.group()))))
    offers |= {("listed", float(count)) for count in numbers.count_items(text)}
    return offers
