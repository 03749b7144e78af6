"""What people think of one answer together."""

from __future__ import annotations

import random

import pytest

from flytewheel.curation.votes import gather_answers
from tests.curation.windows import make_judged

SAME = {"prompt": 5, "question": 5, "answer": 55}


def test_the_mean_by_hand() -> None:
    """Totals 1, 0.5 and -0.9: mean 0.2. Said: 1 and -1, mean 0; one said nothing."""
    rows = [
        make_judged(0, total=1.0, explicit=1.0, quality=0.8, **SAME),
        make_judged(1, total=0.5, quality=0.8, **SAME)._replace(explicit=None),
        make_judged(2, total=-0.9, explicit=-1.0, quality=0.1, **SAME),
    ]
    [answer] = gather_answers(rows)
    assert answer.total == pytest.approx(0.2)
    assert answer.explicit == 0.0
    assert answer.best.place == 1, "the newest of equals"
    assert [one.place for one in answer.judged] == [0, 1, 2]


def test_nobody_said_anything() -> None:
    rows = [make_judged(place, **SAME)._replace(explicit=None) for place in range(2)]
    assert gather_answers(rows)[0].explicit is None
    assert gather_answers(rows[:1])[0].explicit is None


def test_texts_and_questions_are_kept_apart_in_the_order_of_their_coming() -> None:
    rows = [
        make_judged(0, question=2, answer=1),
        make_judged(1, question=1, answer=1),
        make_judged(2, question=2, answer=2),
        make_judged(3, question=2, answer=1),
    ]
    assert [(one.question, [row.place for row in one.judged]) for one in gather_answers(rows)] == [
        (2, [0, 3]), (1, [1]), (2, [2]),
    ]  # fmt: skip


def test_the_mean_does_not_depend_on_the_order_of_votes() -> None:
    chance = random.Random(3)
    rows = [make_judged(place, total=chance.uniform(-1, 1), **SAME) for place in range(500)]
    totals = set()
    for seed in range(20):
        random.Random(seed).shuffle(rows)
        totals.add((gather_answers(rows)[0].total, gather_answers(rows)[0].explicit))
    assert len(totals) == 1
