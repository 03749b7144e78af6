"""Preference pairs."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from flytewheel.curation.account import Account
from flytewheel.curation.draft import Draft
from flytewheel.curation.judged import Judged
from flytewheel.curation.pairs import build_pairs
from flytewheel.curation.votes import gather_answers
from tests.curation.windows import make_judged


def build(
    *rows: Judged, cap: int = 20, measure: Callable[[int, int], float] = lambda one, other: 1.0
) -> tuple[list[Draft], Account]:
    return build_pairs(
        "train",
        rows,
        gather_answers(rows),
        measure_prompts=measure,
        min_margin=0.5,
        min_chosen_quality=0.7,
        max_per_question=cap,
    )


def answer(
    place: int,
    total: float,
    *,
    said: float | None = None,
    quality: float = 0.6,
    text: int | None = None,
    prompt: int = 5,
) -> Judged:
    """An answer to question 5."""
    return make_judged(
        place,
        total=total,
        explicit=said,
        quality=quality,
        user=f"u{place}",
        prompt=prompt,
        cluster=5,
        question=5,
        answer=1000 + place if text is None else text,
    )


def texts(draft: Draft) -> list[tuple[int, str]]:
    return list(draft.texts)


def test_two_answers_to_one_question_with_a_margin() -> None:
    pairs, _ = build(answer(0, -1.0), answer(1, 1.0))
    [pair] = pairs
    assert (texts(pair), pair.margin, pair.source, pair.similarity) == (
        [(1, "response"), (0, "response")], 2.0, "same_prompt", 1.0,
    )  # fmt: skip
    assert (pair.id, pair.user, pair.users, pair.judged) == ("i00001/i00000", "u1", ("u1", "u0"), (1, 0))


def test_near_prompts_are_told_from_the_same_with_their_similarity() -> None:
    pairs, _ = build(answer(0, -1.0, prompt=8), answer(1, 1.0, prompt=9), measure=lambda one, other: (one + other) / 20)
    assert [(pair.source, pair.similarity, pair.prompt, pair.shown) for pair in pairs] == [("near_prompt", 0.85, 9, 1)]


@pytest.mark.parametrize(
    ("chosen", "reason"),
    [
        (answer(1, -0.6), "no clear preference"),  # margin 0.4
        (answer(1, -0.2, said=-0.2, quality=0.6), "no clear preference"),  # merely less bad
    ],
)
def test_no_pair_without_margin_or_a_good_answer(chosen: Judged, reason: str) -> None:
    pairs, account = build(answer(0, -1.0), chosen)
    assert pairs == []
    assert account.dropped == {reason: 1}


def test_quality_makes_an_answer_good_without_a_word_said() -> None:
    silent = answer(1, 0.2, said=0.0, quality=0.7)
    assert len(build(answer(0, -1.0), silent)[0]) == 1


def test_other_questions_make_no_pair() -> None:
    pairs, account = build(make_judged(0, total=1.0), make_judged(1, total=-1.0))
    assert pairs == []
    assert account.dropped == {"only one answer to the question": 2}


@pytest.mark.parametrize("source", ["correction", "edit"])
def test_a_correction_or_an_edit_beside_the_answer(source: str) -> None:
    pairs, _ = build(make_judged(0, total=-0.5, correction=77, correction_source=source))
    [pair] = pairs
    assert (texts(pair), pair.margin, pair.source, pair.user, pair.id) == (
        [(0, "correction"), (0, "response")], 1.5, source, "ann", f"i00000/{source}",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("preferred", "columns"), [(True, ["other", "response"]), (False, ["response", "other"]), (None, None)]
)
def test_a_duel_is_a_pair_by_itself_unless_tied(preferred: bool | None, columns: list[str] | None) -> None:
    """The tie brings no `other` here: `features` notes only duels that one answer won."""
    pairs, _ = build(make_judged(0, total=0.5, other=None if preferred is None else 9, other_preferred=preferred))
    assert [[column for _, column in pair.texts] for pair in pairs] == ([columns] if columns else [])
    assert all((pair.source, pair.margin) == ("duel", 1.0) for pair in pairs)


def test_a_written_pair_needs_its_margin_too() -> None:
    pairs, account = build(make_judged(0, total=0.7, correction=77))
    assert pairs == []
    assert account.dropped["margin too small"] == 1


def test_the_same_two_texts_stand_once_and_in_one_order() -> None:
    same = {"prompt": 5, "cluster": 5, "question": 5}
    rows = [
        make_judged(0, total=-0.5, answer=1, correction=2, **same),
        make_judged(1, total=-0.5, answer=1, correction=2, **same),
        make_judged(2, total=-0.5, answer=2, correction=1, **same),
    ]
    pairs, account = build(*rows)
    assert [texts(pair) for pair in pairs] == [[(0, "correction"), (0, "response")]]
    assert account.dropped["same pair"] == 2


def test_the_same_text_is_never_on_both_sides() -> None:
    # text 1 has the mean 0: said is 0 and quality below the bar, so it is not chosen either
    assert build(answer(0, 1.0, text=1), answer(1, -1.0, text=1), answer(2, -1.0, text=2))[0] == []
    [pair] = build(answer(0, 1.0, text=1), answer(1, 0.0, text=1), answer(2, -1.0, text=2))[0]
    assert (texts(pair)[1], pair.margin, pair.judged) == ((2, "response"), 1.5, (0, 1, 2))


def test_rounds_use_every_answer_before_any_twice() -> None:
    rows = [answer(n, 1.0 if n < 3 else -1.0) for n in range(6)]
    pairs, account = build(*rows, cap=3)
    assert len({texts(pair)[0] for pair in pairs}) == 3
    assert len({texts(pair)[1] for pair in pairs}) == 3
    assert account.dropped == {"enough pairs of the question": 1}
    assert len(build(*rows)[0]) == 9


def test_ten_thousand_answers_to_one_question_take_no_time() -> None:
    rows = [answer(n, 1.0 if n % 2 else -1.0) for n in range(10_000)]
    assert len(build(*rows)[0]) == 20
