"""Answers side by side, differences marked: where the candidate gained and lost most, and regression cases that changed
sides. What people and models wrote is text and nothing else, in the direction of its own script.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from flytewheel.evaluation_page.answer_diff import (
    Piece,
    cut_pieces,
    diff_texts,
    draw_pieces,
    says_the_same,
)
from flytewheel.evaluation_page.selection import LONGEST, Pair, choose_pairs, text_of
from flytewheel.evaluation_page.style import section, words
from flytewheel.evaluation_page.subject import Subject

LONG = 1_200  # characters of an answer from which it is folded
_EXCERPT, _BEFORE = 500, 100
_LONG_PROMPT = 700
MOST_CASES = 20
_LONGEST_CASE = 4_000


def draw_answers(subject: Subject) -> str:
    """The answers of the examples."""
    gained, lost, rest = choose_pairs(subject.answers)
    if not (gained or lost or rest):
        return section("answers", "Answers side by side", "<p>No answers were kept.</p>")
    told = (
        f"<p>Underlined <ins>like this</ins>: only {words(subject.candidate)} says it. Dashed <del>like this</del>: "
        f"only {words(subject.champion)} does. Invisible signs that differ are shown: · for a space, ⏎ for a line end."
        "</p>"
    )
    parts = [told]
    for title, look, pairs in (
        ("Where the candidate gained most", "good", gained),
        ("Where the candidate lost most", "bad", lost),
        ("Neither better nor worse", "plain", rest),
    ):
        if pairs:
            drawn = "".join(_draw_pair(subject, pair, number, look) for number, pair in enumerate(pairs, start=1))
            parts.append(f"<h3>{title} ({len(pairs)})</h3>{drawn}")
    return section("answers", "Answers side by side", *parts)


def draw_regressions(subject: Subject) -> str:
    """Regression cases that fail now and passed before, then those that pass now, with what was said."""
    cases = [answer for answer in subject.answers if answer.get("kind") == "regression"]
    by_id = {str(case.get("id")): case for case in cases}
    details = subject.evaluation.get("details") or {}
    suite = details.get("suite") if isinstance(details, Mapping) else None
    parts = []
    for key, title, look in (
        ("newly_failing", "Fail now, passed before", "bad"),
        ("newly_passing", "Pass now, failed before", "good"),
    ):
        ids = _ids(suite, key) if isinstance(suite, Mapping) and key in suite else _changed(cases, key)
        if not ids:
            continue
        drawn = "".join(_draw_case(subject, name, by_id.get(name), look) for name in ids[:MOST_CASES])
        more = f"<p>and {len(ids) - MOST_CASES:,} cases more</p>" if len(ids) > MOST_CASES else ""
        parts.append(f"<h3>{title} ({len(ids)})</h3>{drawn}{more}")
    if not parts and (cases or suite):
        parts.append("<p>No regression case changed sides.</p>")
    return section("regressions", "Regression cases", *parts)


def _draw_pair(subject: Subject, pair: Pair, number: int, look: str) -> str:
    answer = pair.answer
    topic = f" · {words(answer['topic'])}" if answer.get("topic") else ""
    head = (
        f'<header><h4 dir="auto">{number}{topic}</h4><span class="chip {look}">{words(pair.by)}</span>'
        f"<code>{words(pair.ident)}</code></header>"
    )
    reference = _fold("Reference", text_of(answer, "reference"), LONG // 2)
    return f'<article class="card pair">{head}{_draw_prompt(answer)}{_draw_sides(subject, answer)}{reference}</article>'


def _draw_case(subject: Subject, name: str, case: Mapping[str, Any] | None, look: str) -> str:
    sign = "▲ passes now" if look == "good" else "▼ fails now"
    head = f'<header><h4>{words(name)}</h4><span class="chip {look}">{sign}</span></header>'
    if case is None:
        return f'<article class="card pair">{head}<p>What was said was not kept.</p></article>'
    asked = _cut(text_of(case, "expected"), _LONGEST_CASE)
    check = f'<p>Check: <b>{words(case.get("check", ""))}</b> <code dir="auto">{words(asked)}</code></p>'
    sides = _draw_sides(subject, case, _LONGEST_CASE)
    return f'<article class="card pair">{head}{_draw_prompt(case)}{check}{sides}</article>'


def _draw_prompt(answer: Mapping[str, Any]) -> str:
    """The last turn of the prompt openly, what came before it folded."""
    prompt = answer.get("prompt")
    turns = [turn for turn in prompt if isinstance(turn, Mapping)] if isinstance(prompt, Sequence) else []
    if isinstance(prompt, str):
        turns = [{"role": "user", "content": prompt}]
    if not turns:
        return ""
    *earlier, last = turns
    asked = _fold("The prompt", text_of(last, "content"), _LONG_PROMPT, title=False)
    told = "".join(
        f'<h4>{words(turn.get("role", ""))}</h4><div class="said" dir="auto">'
        f"{words(_cut(text_of(turn, 'content'), _LONGEST_CASE))}</div>"
        for turn in earlier[-20:]
    )
    before = f"<details><summary>What came before ({len(earlier)})</summary>{told}</details>" if earlier else ""
    return f'<div class="asked">{before}{asked}</div>'


def _draw_sides(subject: Subject, answer: Mapping[str, Any], most: int = LONGEST) -> str:
    """Both answers; long ones as excerpts around the first change, with the whole of both folded below."""
    whole = [text_of(answer, side) for side in ("candidate", "champion")]
    ours, theirs = (_cut(text, most) for text in whole)
    both = diff_texts(ours, theirs)
    note = says_the_same(*whole)
    told = f'<p class="soft">{words(note[0].upper() + note[1:])}.</p>' if note else ""
    if max(len(ours), len(theirs)) <= LONG:
        return _grid(subject, both, whole) + told
    excerpts = cut_pieces(both[0], _EXCERPT, _BEFORE), cut_pieces(both[1], _EXCERPT, _BEFORE)
    inside = f"<details><summary>Both answers whole</summary>{_grid(subject, both, whole)}</details>"
    return _grid(subject, excerpts, whole) + told + inside


def _grid(subject: Subject, both: tuple[list[Piece], list[Piece]], whole: Sequence[str]) -> str:
    cells = "".join(
        f'<div class="side"><h4>{words(name)} <small>{len(text):,} characters</small></h4>'
        f'<div class="said" dir="auto">{draw_pieces(pieces, mark) or "<i>an empty answer</i>"}</div></div>'
        for name, pieces, text, mark in zip(
            (subject.candidate, subject.champion), both, whole, ("ins", "del"), strict=True
        )
    )
    return f'<div class="sides">{cells}</div>'


def _fold(name: str, text: str, room: int, *, title: bool = True) -> str:
    """A text openly, or folded behind its beginning where it is long."""
    if not text:
        return ""
    shown = f'<div class="said" dir="auto">{words(_cut(text, LONGEST))}</div>'
    if len(text) <= room:
        return f'<div class="ref"><h4>{name}</h4>{shown}</div>' if title else shown
    start = words(" ".join(text[:160].split()))
    return (
        f'<details class="{"ref" if title else "long"}"><summary>{name}, {len(text):,} characters: '
        f"<bdi>{start}…</bdi></summary>{shown}</details>"
    )


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[:most]}… ({len(text) - most:,} characters more in answers.jsonl)"


def _ids(suite: Mapping[str, Any], key: str) -> list[str]:
    """Ids of cases, given bare or as mappings with an `id`."""
    found = suite.get(key)
    items = found if isinstance(found, Sequence) and not isinstance(found, str) else ()
    return [str(item.get("id", "")) if isinstance(item, Mapping) else str(item) for item in items]


def _changed(cases: Sequence[Mapping[str, Any]], key: str) -> list[str]:
    """The same from the answers, where the suite's details do not say."""
    sides = ("candidate_passes", "champion_passes")
    passes, fails = sides if key == "newly_passing" else sides[::-1]
    return sorted(str(case.get("id")) for case in cases if case.get(passes) is True and case.get(fails) is False)
