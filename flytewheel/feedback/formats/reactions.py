"""What a foreign rating says, in our words: thumbs, a rating of 1 to 5, a correction, a comment.

A number means nothing without its scale. The scale of a field is read from all its values in the files, before
anything is turned: yes or no (0 and 1) and -1 to 1 are thumbs by their sign, shares between 0 and 1 and steps up to 5,
10 or 100 become a rating of 1 to 5 in proportion. A field named `rating` or `stars` is 1 to 5 unless it is plainly not
(a fifth of its values above 5, or nothing but -1, 0 and 1). A value outside of its scale stays as it is, and the import
quarantines it ("rating outside 1..5"). The value as it came is kept in the event's metadata.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Scale = Literal["thumbs", "share", "five", "ten", "hundred"]

_GOOD = frozenset(
    {"good", "up", "thumbs_up", "thumbsup", "thumbs-up", "thumb_up", "like", "liked", "positive", "yes", "true",
     "correct", "right", "helpful", "great", "excellent", "upvote", "upvoted", "accept", "accepted", "approve",
     "approved", "pass", "passed", "satisfied", "happy", "love", "perfect", "ok", "👍", "😊", "❤️", "✅"}
)  # fmt: skip
_BAD = frozenset(
    {"bad", "down", "thumbs_down", "thumbsdown", "thumbs-down", "thumb_down", "dislike", "disliked", "negative", "no",
     "false", "incorrect", "wrong", "unhelpful", "not_helpful", "poor", "terrible", "downvote", "downvoted", "reject",
     "rejected", "fail", "failed", "unsatisfied", "dissatisfied", "unhappy", "👎", "😞", "❌"}
)  # fmt: skip
_NEITHER = frozenset(
    {"neutral", "none", "null", "n/a", "na", "skip", "skipped", "unknown", "unrated", "mixed", "-", "partially_correct"}
)
_FIGURE = re.compile(r"([+-]?\d{1,18}(?:\.\d{1,18})?)\s*(?:(?:/|out of|of)\s*(\d{1,9})|stars?|★)?", re.IGNORECASE)
_ONE_TO_FIVE = re.compile(r"(?i)rating|stars?\b")

VOTES = (
    "rating", "stars", "star_rating", "user_rating", "score", "feedback", "user_feedback", "thumbs", "thumb", "label",
    "vote", "reaction", "liked", "like", "helpful", "is_helpful", "is_good",
)  # fmt: skip
COMMENTS = ("comment", "comments", "feedback_text", "feedback_comment", "user_comment")
CORRECTIONS = ("correction", "corrected_response", "corrected", "expected_output", "expectedOutput", "ideal")
EDITS = ("edit", "edited_response", "edited")
_INNER_VOTES = (*VOTES, "value", "type")
_INNER_COMMENTS = (*COMMENTS, "explanation", "text", "reason")


@dataclass(frozen=True, slots=True)
class Said:
    """What one person said of one answer: fields of an event, but for its ids, user and time."""

    kind: str
    fields: Mapping[str, Any] = field(default_factory=dict)


@dataclass(slots=True)
class Scales:
    """The figures seen of each field, and the scale that they are on."""

    seen: dict[str, Counter[float]] = field(default_factory=dict)

    def note(self, name: str, value: Any) -> None:
        """Counts a value, if it is a figure without a scale of its own."""
        number = _read_figure(value)
        if number is not None and number[1] is None:
            figures = self.seen.setdefault(name, Counter())
            if len(figures) < 1000:  # a field with more different figures has shown its scale
                figures[number[0]] += 1

    def scale_of(self, name: str) -> Scale:
        """Gives the scale of a field; see the module's text."""
        figures = self.seen.get(name, Counter())
        total = sum(figures.values())
        low, high = min(figures, default=0.0), max(figures, default=1.0)
        if low >= -1 and high <= 1:
            whole = all(value in {-1, 0, 1} for value in figures)
            if whole and (low < 1 or not _ONE_TO_FIVE.search(name)):
                return "thumbs"
            return "five" if whole else "thumbs" if low < 0 else "share"
        beyond = sum(count for value, count in figures.items() if value > 5)
        if beyond * 5 < total or beyond == 0:
            return "five"
        return "ten" if sum(count for value, count in figures.items() if value > 10) * 5 < total else "hundred"

    def describe(self) -> dict[str, str]:
        """Says of each field which scale it was read on."""
        words = {"thumbs": "thumbs", "share": "0 to 1", "five": "1 to 5", "ten": "1 to 10", "hundred": "0 to 100"}
        return {name: words[self.scale_of(name)] for name in sorted(self.seen)}


def read_vote(value: Any, name: str, scales: Scales) -> Said | None:
    """Reads one value of a field; `None` where it says neither yes nor no."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return None
    kept = {"metadata": {"field": name, "value": value if isinstance(value, bool | int | float) else str(value)[:100]}}
    if isinstance(value, bool):
        return Said("thumbs_up" if value else "thumbs_down", kept)
    if isinstance(value, str):
        word = re.sub(r"[\s!.]+", "_", value.strip().lower()).strip("_")
        if word in _GOOD or word in _BAD:
            return Said("thumbs_up" if word in _GOOD else "thumbs_down", kept)
        if word in _NEITHER or not word:
            return None
    figure = _read_figure(value)
    if figure is None:
        if name == "label":  # of anything: a topic, an intent
            return None
        return Said(str(value)[:40] if isinstance(value, str) else type(value).__name__, kept)
    number, most = figure
    scale = scales.scale_of(name) if most is None else {5: "five", 10: "ten", 100: "hundred", 1: "share"}.get(most)
    if scale == "thumbs":
        neither = number == 0 and not _is_binary(name, scales)
        return None if neither else Said("thumbs_up" if number > 0 else "thumbs_down", kept)
    rating = number
    if scale == "share" and 0 <= number <= 1:
        rating = 1 + 4 * number
    elif scale == "ten" and 0 <= number <= 10:
        rating = max(1.0, 1 + (number - 1) * 4 / 9)
    elif scale == "hundred" and 0 <= number <= 100:
        rating = 1 + number / 25
    elif scale is None:
        rating = 1 + 4 * number / most if most and 0 <= number <= most else math.inf
    return Said("rating", {**kept, "rating": round(rating, 6) if math.isfinite(rating) else 0})


def read_said(
    row: Mapping[str, Any], scales: Scales, *, names: tuple[str, ...] = VOTES, comments: tuple[str, ...] = COMMENTS
) -> list[Said]:
    """Reads all that a row, a turn or a feedback object says: at most one vote, a correction, an edit, a comment.

    The comment goes with the vote; without one it is a `follow_up`, which is worth nothing by itself.
    """
    vote: Said | None = None
    texts: list[Said] = []
    comment = find_text(row, comments)
    for name in names:
        value = row.get(name)
        if isinstance(value, Mapping):
            for one in read_said(value, scales, names=_INNER_VOTES, comments=_INNER_COMMENTS):
                comment = comment or one.fields.get("comment")
                if "corrected_response" in one.fields:
                    texts.append(one)
                elif one.kind != "follow_up":
                    vote = vote or one
        elif (found := read_vote(value, name, scales)) is not None:
            if _is_prose(value, found):
                comment = comment or str(value)
            else:
                vote = vote or found
    for kind, fields in (("correction", CORRECTIONS), ("edit", EDITS)):
        text = find_text(row, fields)
        if text is not None and all(one.kind != kind for one in texts):
            texts.append(Said(kind, {"corrected_response": text}))
    said = [vote, *texts] if vote is not None else texts
    if comment is not None:
        first = said[0] if said else Said("follow_up")
        said[:1] = [Said(first.kind, {**first.fields, "comment": comment})]
    return said


def note_figures(row: Mapping[str, Any], scales: Scales, *, names: tuple[str, ...] = VOTES) -> None:
    """Counts the figures of a row for their scales."""
    for name in names:
        value = row.get(name)
        if isinstance(value, Mapping):
            note_figures(value, scales, names=_INNER_VOTES)
        else:
            scales.note(name, value)


def find_text(row: Mapping[str, Any], names: tuple[str, ...]) -> str | None:
    """The first of these fields that holds text."""
    return next((value for name in names if isinstance(value := row.get(name), str) and value.strip()), None)


def _is_prose(value: Any, vote: Said) -> bool:
    """Whether a feedback field holds what somebody wrote, not a vote."""
    return isinstance(value, str) and vote.kind not in {"thumbs_up", "thumbs_down", "rating"} and len(value.split()) > 1


def _read_figure(value: Any) -> tuple[float, int | None] | None:
    """A number and, where it says so ("4/5", "4 stars"), what it is out of."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int | float):
        return (float(value), None) if abs(value) < 1e15 and math.isfinite(value) else (math.inf, 5)
    found = _FIGURE.fullmatch(value.strip()) if isinstance(value, str) else None
    if found is None:
        return None
    stars = 5 if found[0].lower().rstrip("s").endswith(("star", "★")) else None
    return float(found[1]), int(found[2]) if found[2] else stars


def _is_binary(name: str, scales: Scales) -> bool:
    """Whether 0 is a no: where nothing is below it. On a scale of -1 to 1 it is no vote."""
    return not any(value < 0 for value in scales.seen.get(name, ()))
