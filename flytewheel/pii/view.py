"""How finders see a text: digits of any script as ASCII, spaces and dashes of any kind as one, escapes as white
space.

Decides nothing by itself; it keeps the rules in plain ASCII. Every mapping keeps the length, so that a span in the
view is the same span in the text. Placeholders that stand in a text already become one `MARK` each, as the things
that a pass found do: whether redaction ends never depends on the names that were given, and redacting twice changes
nothing.
"""

from __future__ import annotations

import re

MARK = "\x00"

_ZEROS = (  # the zero of every script's ten digits
    0x660,
    0x6F0,
    0x7C0,
    0x966,
    0x9E6,
    0xA66,
    0xAE6,
    0xB66,
    0xBE6,
    0xC66,
    0xCE6,
    0xD66,
    0xDE6,
    0xE50,
    0xED0,
    0xF20,
    0x1040,
    0x17E0,
    0x1810,
    0x1D7CE,
    0x1D7D8,
    0x1D7E2,
    0x1D7EC,
    0x1D7F6,
)
_SPACES = "\u00a0\u00ad\u2000-\u200f\u202a-\u202f\u205f-\u2064\u2066-\u2069\u3000\ufeff"
_DASHES = "\u2010-\u2015\u2212\ufe58\ufe63"
_OTHERS = {"ı": "i", "İ": "I", "ſ": "s", "\u212a": "K", "“": '"', "”": '"', "„": '"', "‘": "'", "’": "'"}


def _spread(ranges: str) -> list[int]:
    """The code points of a character class such as `a-cx`."""
    points: list[int] = []
    for first, last in re.findall(r"(.)(?:-(.))?", ranges, re.DOTALL):
        points += range(ord(first), ord(last or first) + 1)
    return points


TABLE = {
    **{zero + digit: str(digit) for zero in _ZEROS for digit in range(10)},
    **{point: " " for point in _spread(_SPACES)},
    **{point: "-" for point in _spread(_DASHES)},
    **{point: chr(point - 0xFEE0) for point in range(0xFF01, 0xFF5F)},
    **{ord(letter): plain for letter, plain in _OTHERS.items()},
}
NEEDS_VIEW = (
    f"[{_SPACES}{_DASHES}{''.join(_OTHERS)}\uff01-\uff5e"
    + "".join(f"{chr(zero)}-{chr(zero + 9)}" for zero in _ZEROS)
    + r"]|\\[nrt]"
)
_NEEDS_VIEW = re.compile(NEEDS_VIEW)
_ESCAPE = re.compile(r"\\([nrt])")
_ESCAPED = {"n": " \n", "r": "  ", "t": "  "}


def view_text(text: str) -> str:
    """The text as finders see it, with as many characters as before."""
    if not _NEEDS_VIEW.search(text):
        return text
    return _ESCAPE.sub(lambda found: _ESCAPED[found.group(1)], text.translate(TABLE))
