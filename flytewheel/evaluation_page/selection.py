"""Which answers are shown side by side: the ten where the candidate gained most and the ten where it lost most.

A gain is what people preferred where they were asked, else the judge's preference (lines of kind `duel`), and in equal
ones the difference of the overlap with the reference, in words of any script. Ties are broken by the row's id, so that
the same answers give the same page.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from flytewheel.evaluation_page.answer_diff import overlap
from flytewheel.evaluation_page.subject import read_number, show_number

EACH = 10
LONGEST = 12_000  # characters of a text that are shown and compared; the rest is in answers.jsonl
_ASKED = {"people": "people prefer", "preference": "the judge prefers"}  # keys of a duel's line, the first known counts


@dataclass(frozen=True, slots=True)
class Pair:
    """Two answers to one prompt. `gain`: positive where the candidate's is better; `None` where nobody can tell.

    `by` says in words what the gain is, `reason` why a judge said so; `size` is what pairs are ordered by: the
    preference, then the overlap's difference.
    """

    answer: Mapping[str, Any]
    gain: float | None
    by: str
    size: tuple[float, float]
    reason: str = ""

    @property
    def ident(self) -> str:
        return str(self.answer.get("id") or "")


def choose_pairs(answers: Sequence[Mapping[str, Any]]) -> tuple[list[Pair], list[Pair], list[Pair]]:
    """Those that gained (most first), those that lost (most first), and others: twenty in all if there are as many.

    Where the one side has fewer than ten, the other has more. Of the others, answers that differ come first.
    """
    duels = {str(each.get("id")): each for each in answers if each.get("kind") == "duel"}
    shown_rows = [each for each in answers if each.get("kind") == "test"]
    pairs = sorted((_weigh(each, duels.get(str(each.get("id")), {})) for each in shown_rows), key=lambda one: one.ident)
    lost = [pair for pair in pairs if pair.gain is not None and pair.gain < 0]
    gained = [pair for pair in pairs if pair.gain is not None and pair.gain > 0]
    lost.sort(key=lambda pair: pair.size)  # stable: ids rise among equals
    gained.sort(key=lambda pair: [-part for part in pair.size])
    rest = [pair for pair in pairs if not pair.gain]
    rest.sort(key=lambda pair: (text_of(pair.answer, "candidate") == text_of(pair.answer, "champion"), pair.ident))
    shown = gained[: max(EACH, 2 * EACH - len(lost))], lost[: max(EACH, 2 * EACH - len(gained))]
    return *shown, rest[: max(2 * EACH - sum(map(len, shown)), 0)]


def text_of(answer: Mapping[str, Any], key: str) -> str:
    """A text of an answer's line; empty where there is none."""
    value = answer.get(key)
    return value if isinstance(value, str) else "" if value is None else str(value)


def _weigh(answer: Mapping[str, Any], duel: Mapping[str, Any]) -> Pair:
    preferred, asked = _preference(duel)
    difference, told = _compare(answer)
    gain = preferred or difference
    if preferred is not None:
        liked = "the candidate" if preferred > 0 else "the champion" if preferred < 0 else "neither"
        told = f"{_ASKED[asked]} {liked}; {told}"
    reason = text_of(duel, "reason") if asked == "preference" else ""
    return Pair(answer, gain, told, (preferred or 0.0, difference or 0.0), reason)


def _preference(duel: Mapping[str, Any]) -> tuple[float | None, str]:
    """What was said of a pair, from [0, 1] (0.5: a tie) to [-1, 1], and who said it; `None`: nobody."""
    for key in _ASKED:
        said = read_number(duel.get(key))
        if said is not None:
            return 2 * max(0.0, min(1.0, said)) - 1, key
    return None, ""


def _compare(answer: Mapping[str, Any]) -> tuple[float | None, str]:
    """The difference of the overlap with the reference, and both values in words."""
    reference = text_of(answer, "reference")[:LONGEST]
    ours, theirs = (overlap(text_of(answer, side)[:LONGEST], reference) for side in ("candidate", "champion"))
    if ours is None or theirs is None:
        return None, "no reference to compare with"
    return ours - theirs, f"overlap with the reference {show_number(ours)} against {show_number(theirs)}"
