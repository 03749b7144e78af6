"""What a person's client saw them do with an answer, turned into implicit reactions.

A client numbers what it sees of one view of an answer from 0 (`shown`) up, with milliseconds since `shown`, and sends
the list from its beginning, as often as it likes. What is read from it is the unbroken run of numbers from 0: a list
that lacks one says nothing beyond the gap. So whatever arrives late, twice, re-ordered or in part leads to some of the
signals of the whole list and to no others, each with the same content; nothing needs to be remembered in between.

| signal | when |
|---|---|
| `accepted` | the first time that the answer was taken; `seconds` since it was shown (the rewards want ≤ 3) |
| `copied` | the first copy |
| `citation_click` | every click on a citation |
| `read_time` | visible for the rewards' share of the time that reading takes in its language, and scrolled as far |
| `reformulation` | the next question is like the one before (`similarity` at least 0.75) |
| `follow_up` | the next question is another one |
| `abandonment` | left before a fifth of the reading time, without having done anything with it |

Nothing counts before the session is 10 s old (the reference design): what happened earlier counts from then on. Clocks
may jump: time never runs backwards here, nor beyond a day.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from rapidfuzz import fuzz

from flytewheel.feedback.reading import expect_reading_ms
from flytewheel.recipe import Rewards
from flytewheel.records import FeedbackType

Kind = Literal["shown", "visible", "hidden", "scroll", "copy", "citation", "follow_up", "accepted", "rated", "left"]
KINDS: tuple[Kind, ...] = (
    "shown", "visible", "hidden", "scroll", "copy", "citation", "follow_up", "accepted", "rated", "left",
)  # fmt: skip
LONGEST_MS = 24 * 3_600_000
COMPARED = 2_000  # characters of a question that are compared

_WORD = re.compile(r"\w+")


@dataclass(frozen=True, slots=True, order=True)
class Seen:
    """One thing that a client saw: its number, when (ms since `shown`), what; `depth` in [0, 1] with shown and scroll,
    the next question's `text` with follow_up.
    """

    number: int
    at_ms: int
    kind: str
    depth: float = 1.0
    text: str = ""


@dataclass(frozen=True, slots=True)
class View:
    """One view of an answer. `session_ms` is the age of the session when it was shown, `characters` its length,
    `wide` how many of those are Han, kana or Hangul, `question` what it answers.
    """

    seen: Sequence[Seen]
    session_ms: int = 0
    characters: int = 0
    wide: int = 0
    language: str | None = None
    question: str | None = None


@dataclass(frozen=True, slots=True)
class Signal:
    """A reaction that was observed, `at_ms` after the answer was shown; `name` tells it from others of its kind."""

    kind: FeedbackType
    at_ms: int
    name: str = ""
    metadata: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class SignalRules:
    """Figures of the table above; times in milliseconds, shares in [0, 1]."""

    min_session_ms: int = 10_000  # the reference design's min_session_duration
    read_share: float = Rewards().read_share
    glance_share: float = 0.2
    similar: float = 0.75  # of 18 pairs of questions sorted by hand, 17 fall on the right side; a changed noun does not
    most_clicks: int = 20


RULES = SignalRules()


def find_signals(view: View, rules: SignalRules = RULES) -> list[Signal]:
    """The signals of a view, in the order of the table; their content depends on no order, repeat or later event."""
    seen = list(_settle(view.seen))
    if not seen or seen[0].kind != "shown":
        return []
    if view.session_ms + seen[-1].at_ms < rules.min_session_ms:
        return []
    return [
        *_find_taken(seen, rules),
        *_find_read(seen, view, rules),
        *_find_next(seen, view, rules),
        *_find_abandoned(seen, view, rules),
    ]


def needs_question(view: View) -> bool:
    """Whether the view holds a next question but not the one that it follows."""
    return view.question is None and any(one.kind == "follow_up" and one.text for one in view.seen)


def compare_questions(first: str, second: str) -> float:
    """How alike two questions are, in [0, 1]: the better of word order ignored, and one's words within the other's.

    The latter only where the shorter has two fifths of the longer's letters: "the" lies within most questions.
    """
    one, other = _words(first), _words(second)
    if not one or not other:
        return 0.0
    found = fuzz.token_sort_ratio(one, other)
    if min(len(one), len(other)) >= 0.4 * max(len(one), len(other)):
        found = max(found, fuzz.token_set_ratio(one, other))
    return round(found / 100, 2)


def _words(text: str) -> str:
    return " ".join(_WORD.findall(unicodedata.normalize("NFKC", text[:COMPARED]).casefold()))


def _settle(seen: Sequence[Seen]) -> Iterator[Seen]:
    """The unbroken run from number 0, each once, up to `left`, on a clock that never runs backwards."""
    number = now_ms = 0
    for one in sorted(seen):
        if one.number < number:
            continue  # again; of two under one number the lesser counts, whatever came first
        if one.number > number:
            return
        number += 1
        now_ms = min(LONGEST_MS, max(now_ms, one.at_ms))
        yield Seen(one.number, now_ms, one.kind, one.depth, one.text)
        if one.kind == "left":
            return


def _find_taken(seen: Sequence[Seen], rules: SignalRules) -> Iterator[Signal]:
    for wanted, kind in (("accepted", FeedbackType.ACCEPTED), ("copy", FeedbackType.COPIED)):
        first = next((one for one in seen if one.kind == wanted), None)
        if first is not None:
            told = {"seconds": (first.at_ms - seen[0].at_ms) / 1000} if wanted == "accepted" else {}
            yield Signal(kind, first.at_ms, metadata=told)
    clicks = [one for one in seen if one.kind == "citation"][: rules.most_clicks]
    for click in clicks:
        yield Signal(FeedbackType.CITATION_CLICK, click.at_ms, str(click.number))


def _find_read(seen: Sequence[Seen], view: View, rules: SignalRules) -> Iterator[Signal]:
    if view.characters <= 0:
        return
    expected_ms = expect_reading_ms(view.characters, view.wide, view.language)
    needed_ms = math.ceil(rules.read_share * expected_ms)
    visible_ms, depth = 0, seen[0].depth
    for one, shown in zip(seen[1:], _follow_visible(seen), strict=True):
        before_ms = one.at_ms
        if shown is not None:
            visible_ms += one.at_ms - shown
            if depth >= rules.read_share and visible_ms >= needed_ms:
                before_ms -= visible_ms - needed_ms  # when the share was reached, which no later event can change
                visible_ms = needed_ms
        if one.kind == "scroll":
            depth = max(depth, one.depth)
        if depth >= rules.read_share and visible_ms >= needed_ms:
            told = {"read_s": visible_ms / 1000, "expected_s": expected_ms / 1000}
            yield Signal(FeedbackType.READ_TIME, before_ms, metadata=told)
            return


def _find_next(seen: Sequence[Seen], view: View, rules: SignalRules) -> Iterator[Signal]:
    first = next((one for one in seen if one.kind == "follow_up"), None)
    if first is None:
        return
    similarity = compare_questions(view.question or "", first.text)
    kind = FeedbackType.REFORMULATION if similarity >= rules.similar else FeedbackType.FOLLOW_UP
    yield Signal(kind, first.at_ms, metadata={"similarity": similarity})


def _find_abandoned(seen: Sequence[Seen], view: View, rules: SignalRules) -> Iterator[Signal]:
    last = seen[-1]
    used = {"accepted", "copy", "citation", "follow_up", "rated"}
    if last.kind != "left" or view.characters <= 0 or any(one.kind in used for one in seen):
        return
    visible_ms = sum(
        one.at_ms - shown for one, shown in zip(seen[1:], _follow_visible(seen), strict=True) if shown is not None
    )
    expected_ms = expect_reading_ms(view.characters, view.wide, view.language)
    if visible_ms < rules.glance_share * expected_ms:
        told = {"read_s": visible_ms / 1000, "expected_s": expected_ms / 1000}
        yield Signal(FeedbackType.ABANDONMENT, last.at_ms, metadata=told)


def _follow_visible(seen: Sequence[Seen]) -> Iterator[int | None]:
    """For each event after the first: the time of the event before it, where the answer was visible since; or None."""
    visible = True
    for one in seen[:-1]:
        if one.kind == "hidden":
            visible = False
        elif one.kind == "visible":
            visible = True
        yield one.at_ms if visible else None
