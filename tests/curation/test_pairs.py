"""Preference pairs."""

from __future__ import annotations

import pytest

from flytewheel.curation.pairs import build_pairs
from flytewheel.curation.score import Scored
from flytewheel.curation.votes import gather_answers
from flytewheel.dataset import Step
from flytewheel.records import Preference
from tests.curation.windows import make_scored

QUERY = "how do I free the disk of that host"


def build(*rows: Scored, cap: int = 20) -> tuple[list[Preference], Step]:
    keys = {row.text.key: row.text.key for row in rows}
    drafts, step = build_pairs(
        "train",
        rows,
        gather_answers(rows, keys),
        clusters=keys,
        questions=keys,
        min_margin=0.5,
        min_chosen_quality=0.7,
        max_per_question=cap,
    )
    return [draft.row for draft in drafts], step


def answer(number: int, total: float, *, said: float | None = None, quality: float = 0.6, text: str = "") -> Scored:
    return make_scored(
        number,
        total=total,
        explicit=said,
        quality=quality,
        user=f"u{number}",
        query=QUERY,
        response=text or f"answer {number}",
    )


def test_two_answers_to_one_question_with_a_margin() -> None:
    pairs, _ = build(answer(0, -1.0), answer(1, 1.0))
    assert [(pair.chosen, pair.rejected, pair.margin, pair.source) for pair in pairs] == [
        ("answer 1", "answer 0", 2.0, "answers")
    ]


@pytest.mark.parametrize(
    ("chosen", "reason"),
    [
        (answer(1, -0.6), "no clear preference"),  # margin 0.4
        (answer(1, -0.2, said=-0.2, quality=0.6), "no clear preference"),  # merely less bad
    ],
)
def test_no_pair_without_margin_or_a_good_answer(chosen: Scored, reason: str) -> None:
    pairs, step = build(answer(0, -1.0), chosen)
    assert pairs == []
    assert step.dropped == {reason: 1}


def test_quality_makes_an_answer_good_without_a_word_said() -> None:
    silent = answer(1, 0.2, said=0.0, quality=0.7)
    assert len(build(answer(0, -1.0), silent)[0]) == 1


def test_other_questions_make_no_pair() -> None:
    pairs, step = build(make_scored(0, total=1.0), make_scored(1, total=-1.0))
    assert pairs == []
    assert step.dropped == {"only one answer to the question": 2}


def test_a_correction_beside_the_answer_it_corrects() -> None:
    pairs, _ = build(make_scored(0, total=-0.5, correction="the right way"))
    assert [(pair.chosen, pair.margin, pair.source, pair.user) for pair in pairs] == [
        ("the right way", 1.5, "correction", "ann")
    ]


def test_the_same_text_is_never_on_both_sides() -> None:
    rows = [answer(0, 1.0, text="do this"), answer(1, -1.0, text="do  this "), answer(2, -1.0, text="do that")]
    pairs, _ = build(*rows)
    # "do this" has the mean 0: said is 0 and quality below the bar, so it is not chosen either
    assert pairs == []
    rows = [answer(0, 1.0, text="do this"), answer(1, 0.0, text="do this"), answer(2, -1.0, text="do that")]
    assert [(pair.chosen, pair.rejected, pair.margin) for pair in build(*rows)[0]] == [("do this", "do that", 1.5)]


def test_rounds_use_every_answer_before_any_twice() -> None:
    rows = [answer(n, 1.0 if n < 3 else -1.0) for n in range(6)]
    pairs, step = build(*rows, cap=3)
    assert len({pair.chosen for pair in pairs}) == 3
    assert len({pair.rejected for pair in pairs}) == 3
    assert step.dropped == {"enough pairs of the question": 1}
    assert len(build(*rows)[0]) == 9
