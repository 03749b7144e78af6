"""Replaces what the finders find, until they find nothing more.

Decides the order in which kinds are taken where two claim the same characters, and how things are named: numbered by
their first place in the conversation, one number for one thing however it was written. A plan is made for each
different text once; what is found does not depend on the names that are given, so that a text may be planned apart
from its conversation. In a batch, gates decide first which kinds are possible in which text (`gate`).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import chain

from flytewheel.pii import gate, nationals, patterns, phones, secrets, tokens
from flytewheel.pii.rules import Finder, Span
from flytewheel.pii.view import MARK, view_text

NAME = "NAME"
FindNames = Callable[[Sequence[str]], list[list[Span]]]

# Where two claim the same characters, the earlier takes them.
FINDERS: tuple[Finder, ...] = (
    *tokens.FINDERS[:2],
    secrets.CREDENTIALS,
    *tokens.FINDERS[2:],
    *secrets.FINDERS,
    patterns.CRYPTO,
    patterns.EMAIL,
    patterns.IBAN,
    patterns.CARD,
    patterns.SSN,
    nationals.NATIONAL_ID,
    patterns.MAC,
    patterns.IP,
    *phones.FINDERS,
)
KINDS = (*dict.fromkeys(finder.kind for finder in FINDERS), NAME)

_PLACEHOLDER = re.compile(r"<([A-Z][A-Z0-9_]*)_([0-9]+)>|" + MARK)
_LOOSE_KINDS = frozenset(("CARD", "IBAN", "PHONE", "EMAIL", "SSN", "NATIONAL_ID", "MAC", NAME))


@dataclass(frozen=True, slots=True)
class _Thing:
    """What a mark stands for: a text that was there, or a thing with its kind and a key for all its spellings."""

    literal: str
    kind: str = ""
    key: str = ""


@dataclass(frozen=True, slots=True)
class Plan:
    """A text between its marks, and what each of them stands for: `pieces[0] things[0] pieces[1] …`."""

    pieces: tuple[str, ...]
    things: tuple[_Thing, ...]

    @property
    def found(self) -> bool:
        return any(thing.kind for thing in self.things)


def make_plan(text: str) -> Plan:
    """Finds everything in a text, by all finders."""
    work, things = _collapse(text)
    while taken := _claim(view := view_text(work), FINDERS):
        # A replacement can lay bare what stood beside it, so until nothing is found.
        work, things = _replace(work, view, things, taken)
    return Plan(tuple(work.split(MARK)), tuple(things))


def make_plans(texts: Sequence[str]) -> dict[str, Plan]:
    """The plans of those texts in which something is found, each equal to `make_plan`'s; gates say where to look."""
    begun: dict[str, tuple[str, list[_Thing]]] = {}
    waiting = list(texts)
    while waiting:
        works = [begun[text][0] if text in begun else text for text in waiting]
        again = []
        for row, view, finders in gate.choose_finders(works, FINDERS):
            text = waiting[row]
            if text in begun:
                work, things = begun[text]
            else:
                work, things = _collapse(text)
                view = view if MARK not in work else view_text(work)
            if taken := _claim(view, finders):
                begun[text] = _replace(work, view, things, taken)
                again.append(text)
        waiting = again
    return {text: Plan(tuple(work.split(MARK)), tuple(things)) for text, (work, things) in begun.items()}


def _claim(view: str, finders: Sequence[Finder]) -> list[tuple[int, int, str]]:
    """What the finders find, without overlap: the earlier finder's, then the earlier in place, then the longer."""
    claims: list[tuple[int, int, int, str]] = []
    rank = 0
    for before, finder in zip((None, *finders), finders, strict=False):
        rank += not (finder.beside and before is not None and before.kind == finder.kind)
        claims += [(rank, start, -end, finder.kind) for start, end in finder.find(view)]
    taken: list[tuple[int, int, str]] = []
    for _, start, negative, kind in sorted(claims):
        end = -negative
        if end > start and all(end <= first or last <= start for first, last, _ in taken):
            taken.append((start, end, kind))
    return sorted(taken)


def _collapse(text: str) -> tuple[str, list[_Thing]]:
    """Puts a mark in the place of every placeholder that is there already."""
    if "<" not in text and MARK not in text:
        return text, []
    things: list[_Thing] = []

    def mark(found: re.Match[str]) -> str:
        things.append(_Thing(found.group()))
        return MARK

    return _PLACEHOLDER.sub(mark, text), things


def _replace(work: str, view: str, things: list[_Thing], taken: list[tuple[int, int, str]]) -> tuple[str, list[_Thing]]:
    pieces: list[str] = []
    kept: list[_Thing] = []
    place = used = 0
    for start, end, kind in taken:
        before = work.count(MARK, place, start)
        kept += things[used : used + before]
        used += before
        swallowed = iter(things[used:])
        literal = "".join(next(swallowed).literal if letter == MARK else letter for letter in work[start:end])
        kept.append(_Thing(literal, kind, _normalise(kind, view[start:end])))
        used += work.count(MARK, start, end)
        pieces += (work[place:start], MARK)
        place = end
    return "".join((*pieces, work[place:])), kept + things[used:]


def _normalise(kind: str, value: str) -> str:
    return (
        re.sub(r"[\s().:/-]+" if kind != "EMAIL" else r"\s+", "", value).casefold() if kind in _LOOSE_KINDS else value
    )


def find(text: str) -> list[tuple[int, int, str]]:
    """Everything found in a text, each as (start, end, kind) in characters, in the order of its place."""
    plan = make_plan(text)
    spans = []
    place = len(plan.pieces[0])
    for thing, piece in zip(plan.things, plan.pieces[1:], strict=True):
        end = place + len(thing.literal)
        if thing.kind:
            spans.append((place, end, thing.kind))
        place = end + len(piece)
    return spans


def render(plans: Sequence[Plan]) -> tuple[list[str], Counter[str]]:
    """The texts of a conversation with their placeholders, and how many different things of each kind there were."""
    used: Counter[str] = Counter()
    for plan in plans:  # a placeholder that is already there keeps its number
        for thing in plan.things:
            if not thing.kind and (old := _PLACEHOLDER.fullmatch(thing.literal)) and old.group(1):
                used[old.group(1)] = max(used[old.group(1)], int(old.group(2)[:9]))
    names: dict[tuple[str, str], str] = {}
    counts: Counter[str] = Counter()
    texts = []
    for plan in plans:
        parts = [plan.pieces[0]]
        for thing, piece in zip(plan.things, plan.pieces[1:], strict=True):
            if thing.kind and (thing.kind, thing.key) not in names:
                used[thing.kind] += 1
                counts[thing.kind] += 1
                names[thing.kind, thing.key] = f"<{thing.kind}_{used[thing.kind]}>"
            parts += (names[thing.kind, thing.key] if thing.kind else thing.literal, piece)
        texts.append("".join(parts))
    return texts, counts


def redact_conversation(texts: Sequence[str]) -> tuple[list[str], Counter[str]]:
    """Redacts the texts of one conversation together.

    Returns:
        The texts in their order, and how many different things of each kind were replaced.
    """
    return render([make_plan(text) for text in texts])


def redact(text: str) -> str:
    """Redacts one text by itself; redacting twice changes nothing more."""
    return redact_conversation([text])[0][0]


def redact_conversations(
    conversations: Sequence[Sequence[str]], *, names: FindNames | None = None
) -> list[tuple[list[str], Counter[str]]]:
    """Redacts many conversations, each by itself: equal to `redact_conversation` on each, at a fraction of its cost.

    Args:
        conversations: the texts of each, in their order.
        names: finds the names of people in texts (`names.open_names`); they are looked for in what the rules left.

    Returns:
        For each conversation what `redact_conversation` gives.
    """
    changed = redact_changed(conversations, names=names)
    return [
        changed[place] if place in changed else (list(texts), Counter()) for place, texts in enumerate(conversations)
    ]


def redact_changed(
    conversations: Sequence[Sequence[str]], *, names: FindNames | None = None
) -> dict[int, tuple[list[str], Counter[str]]]:
    """`redact_conversations` for those in which something is found, by their places: of a hundred it is one."""
    distinct = list(dict.fromkeys(chain.from_iterable(conversations)))
    plans = make_plans(distinct)
    if names is not None:
        _add_names(distinct, plans, names)
    return {
        place: render([plans.get(text) or Plan(*_split(text)) for text in texts])
        for place, texts in enumerate(conversations)
        if not plans.keys().isdisjoint(texts)
    }


def _split(text: str) -> tuple[tuple[str, ...], tuple[_Thing, ...]]:
    work, things = _collapse(text)
    return tuple(work.split(MARK)), tuple(things)


def _add_names(distinct: Sequence[str], plans: dict[str, Plan], names: FindNames) -> None:
    """Takes the names of people out of what the rules left of each text."""
    whole = {text: plans.get(text) or Plan(*_split(text)) for text in distinct}
    # A model reads the placeholders as words; a mark would be noise to it.
    shown = {text: render([plan])[0][0] for text, plan in whole.items()}
    asked = list(dict.fromkeys(shown.values()))
    found = dict(zip(asked, names(asked), strict=True))
    for text, plan in whole.items():
        spans = [
            (start, end, NAME) for start, end in found[shown[text]] if not _PLACEHOLDER.search(shown[text][start:end])
        ]
        if spans:
            plans[text] = _name(plan, shown[text], spans)


def _name(plan: Plan, shown: str, spans: list[tuple[int, int, str]]) -> Plan:
    """The plan with names; their places are those of the text as it was shown."""
    work, olds = _collapse(shown)
    shifted: list[tuple[int, int, str]] = []
    last_end = 0
    marks = [(found.start(), found.end()) for found in _PLACEHOLDER.finditer(shown)]
    for start, end, kind in sorted(spans):
        if start < last_end or any(start < last and first < end for first, last in marks):
            continue
        last_end = end
        shift = sum(last - first - 1 for first, last in marks if last <= start)
        shifted.append((start - shift, end - shift, kind))
    if len(olds) != len(plan.things):
        return plan
    work, things = _replace(work, work, list(plan.things), shifted)
    return Plan(tuple(work.split(MARK)), tuple(things))
