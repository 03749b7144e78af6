"""Which answers are shown side by side: the ten where the candidate gained most and the ten where it lost most.

A gain is the judge's preference where `answers.jsonl` has one, then the difference of a figure of the row: ROUGE-L as
it was measured, or else the overlap with the reference in words of any script. Ties are broken by the row's id, so that
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
PREFERENCES = ("preference", "judge_preference", "judged", "judge")
_SAID = {"candidate": 1.0, "ours": 1.0, "champion": -1.0, "theirs": -1.0, "tie": 0.0}


@dataclass(frozen=True, slots=True)
class Pair:
    """Two answers to one prompt. `gain`: positive where the candidate's is better; `None` where nobody can tell.

    `by` says in words what the gain is; `size` is what pairs are ordered by: the judge's preference, the figure.
    """

    answer: Mapping[str, Any]
    gain: float | None
    by: str
    size: tuple[float, float]

    @property
    def ident(self) -> str:
        return str(self.answer.get("id") or "")


def choose_pairs(answers: Sequence[Mapping[str, Any]]) -> tuple[list[Pair], list[Pair], list[Pair]]:
    """Those that gained (most first), those that lost (most first), and others: twenty in all if there are as many.

    Where the one side has fewer than ten, the other has more. Of the others, answers that differ come first.
    """
    pairs = sorted((_weigh(each) for each in answers if each.get("kind") == "test"), key=lambda pair: pair.ident)
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


def _weigh(answer: Mapping[str, Any]) -> Pair:
    preferred = _preference(answer)
    difference, told = _overlaps(answer)
    gain = preferred if preferred else difference
    by = told
    if preferred is not None:
        liked = "candidate" if preferred > 0 else "champion" if preferred < 0 else "neither"
        by = f"judge prefers: {liked}" + (f"; {told}" if told else "")
    return Pair(answer, gain, by, (preferred or 0.0, difference or 0.0))


def _preference(answer: Mapping[str, Any]) -> float | None:
    """What a judge said of the pair: 1 for the candidate, -1 for the champion, anything between; `None`: nobody."""
    for key in PREFERENCES:
        found = answer.get(key)
        if isinstance(found, Mapping):
            found = next((found[name] for name in ("preferred", "winner", "preference") if name in found), None)
        if isinstance(found, str):
            said = _SAID.get(found.strip().lower())
        else:
            number = read_number(found)
            said = None if number is None else max(-1.0, min(1.0, number))
        if said is not None:
            return said
    return None


def _overlaps(answer: Mapping[str, Any]) -> tuple[float | None, str]:
    """The difference of a figure of the row, and both values in words."""
    measured = answer.get("rouge_l")
    if isinstance(measured, Mapping):
        both = [read_number(measured.get(side)) for side in ("candidate", "champion")]
    else:
        both = [read_number(answer.get(f"{side}_rouge_l")) for side in ("candidate", "champion")]
    name = "ROUGE-L"
    if None in both:
        reference = text_of(answer, "reference")[:LONGEST]
        both = [overlap(text_of(answer, side)[:LONGEST], reference) for side in ("candidate", "champion")]
        name = "overlap with the reference"
    ours, theirs = both
    if ours is None or theirs is None:
        return None, "no reference to compare with"
    return ours - theirs, f"{name} {show_number(ours)} against {show_number(theirs)}"
