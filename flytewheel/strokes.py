"""Letters as strokes, for pictures that are drawn without a font: plain, but to be read at the size of a caption.

A glyph is one or more lines of points, two digits each, across and up: the baseline is at 2, small letters reach 6,
capitals 8, descenders 0. A letter with an accent is drawn without it, and what is not here as an empty box.
"""

from __future__ import annotations

import unicodedata
from functools import cache

Line = tuple[tuple[float, float], ...]

ACROSS, UP = 0.078, 0.117  # of the font's size, one unit; so drawn, text is about as wide as a system's sans
_BASELINE, _GAP, _SPACE = 2, 2, 4
_BOX = "0208484202"
_GLYPHS = {
    "A": "022842|1434", "B": "02083847463505|3544433202", "C": "4738180703123243", "D": "02082846442202",
    "E": "48080242|0535", "F": "480802|0535", "G": "47381807031232434525", "H": "0802|4842|0545", "I": "0208",
    "J": "3833221203", "K": "0208|4804|1542", "L": "080242", "M": "0208254842", "N": "02084248",
    "O": "120307184857534212", "P": "02083847463505", "Q": "120307184857534212|3452", "R": "02083847463505|2542",
    "S": "473818070615354443321203", "T": "0848|2822", "U": "080312324348", "V": "082248", "W": "0812253248",
    "X": "0842|4802", "Y": "082548|2522", "Z": "08480242",
    "a": "4642|4536160503123243", "b": "0802|0516364543321203", "c": "4536160503123243",
    "d": "4842|4536160503123243", "e": "04444536160503123243", "f": "38281712|0626", "g": "4641301001|4536160503123243",
    "h": "0802|0516364542", "i": "0602|0808", "j": "161100|1818", "k": "0802|3603|1432", "l": "0802",
    "m": "0602|0516263532|3546566562", "n": "0602|0516364542", "o": "120305163645433212",
    "p": "0600|0516364543321203", "q": "4640|4536160503123243", "r": "0602|051626", "s": "45361605143443321203",
    "t": "18132232|0626", "u": "0603123243|4642", "v": "062246", "w": "0612243246", "x": "0642|4602", "y": "0622|4610",
    "z": "06460242",
    "0": "120307183847433212", "1": "172822|1232", "2": "07183847460242", "3": "0718384746354443321203|3525",
    "4": "32380444", "5": "480805354443321203", "6": "473818070312324344351504", "7": "084812",
    "8": "15060718384746351504031232434435", "9": "031232434738180706153546",
    ".": "0202", ",": "1201", ":": "0505|0202", ";": "1515|1201", "!": "0804|0202", "?": "07183847462524|2222",
    "-": "0424", "–": "0444", "—": "0464", "−": "0444", "_": "0141", "+": "0444|2622", "=": "0545|0343", "/": "0148",
    "\\": "0841", "(": "29070321", ")": "09272301", "[": "29090121", "]": "09292101", "{": "29171605141321",
    "}": "09171625141301", "'": "0806", '"': "0806|2826", "%": "0248|0808|4242", "&": "4206071827260403122244",
    "#": "1218|3238|0646|0444", "*": "2824|0745|4705", "<": "470543", ">": "074503", "|": "0900", "~": "04153445",
    "^": "062846", "`": "0817", "$": "473818070615354443321203|2921", "@": "34332223242534|34333243473818070312",
    "…": "0202|2222|4242", "·": "0505", "×": "0642|4602", "≠": "0545|0343|1237",
}  # fmt: skip


def draw_text(text: str, size: float) -> tuple[list[Line], float]:
    """The strokes of a line of text with its baseline at 0, x to the right and y downwards, and its width.

    Args:
        text: any.
        size: of the font, in pixels.
    """
    lines, left = [], 0.0
    for letter in text:
        strokes, width = _find_glyph(letter)
        lines += [tuple(((left + x) * ACROSS * size, -y * UP * size) for x, y in stroke) for stroke in strokes]
        left += width
    return lines, max(left - _GAP, 0) * ACROSS * size


@cache
def _find_glyph(letter: str) -> tuple[tuple[Line, ...], float]:
    """A letter's strokes in units, y upwards from the baseline, and how far the next letter is."""
    if letter.isspace():
        return (), _SPACE
    plain = unicodedata.normalize("NFKD", letter)[0]
    digits = _GLYPHS.get(letter) or _GLYPHS.get(plain) or _BOX
    strokes = tuple(
        tuple((int(part[at]), int(part[at + 1]) - _BASELINE) for at in range(0, len(part), 2))
        for part in digits.split("|")
    )
    widest = 4 if letter.isdigit() else max(x for stroke in strokes for x, _ in stroke)
    return strokes, widest + _GAP
