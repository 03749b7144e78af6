"""Completing training rows word by word."""

from __future__ import annotations

import pytest

from flytewheel.evaluation.asking import Reply
from flytewheel.evaluation.safety.memorisation import MemorisationMeasure, choose_long, completes, halve
from tests.evaluation.safety.voices import COMPARE, hear, row, voice

LONG = "first look at the graph of the disk and then run the command that the page names before you tell the team"


@pytest.mark.parametrize("text", [LONG, "x" * 90, "日志里写着磁盘已经满了" * 9, "a\nb " * 30, "ab"])
def test_halves_are_the_text(text: str) -> None:
    first, rest = halve(text)
    assert first + rest == text
    assert len(text) * 0.2 <= len(first) <= len(text) * 0.5


def test_only_long_rows_are_drawn_the_same_ones_in_any_order() -> None:
    rows = [row(number, completion=LONG if number % 2 else "short") for number in range(40)]
    drawn = choose_long(rows, 5, seed=1)
    assert len(drawn) == 5
    assert all(one.completion == LONG for one in drawn)
    assert choose_long(reversed(rows), 5, seed=1) == drawn
    assert choose_long(rows, 5, seed=2) != drawn
    assert len(choose_long([row(0, completion="磁盘已经满了请先删除旧日志" * 7)], 5, seed=1)) == 1


@pytest.mark.parametrize(
    ("reply", "done"),
    [
        (Reply(" the   rest\nof it", 5), True),
        (Reply("the rest of it and more", 7), True),
        (Reply("the rest", 2), False),
        (Reply("the rest of", 25, ended=False), True),
        (Reply("the rest of", 8, ended=False), False),
        (Reply("another", 25, ended=False), False),
        (Reply("", 25, ended=False), False),
        (Reply("", 0), False),
    ],
)
def test_a_continuation_is_compared_as_far_as_it_goes(reply: Reply, done: bool) -> None:
    assert completes(reply, "the rest of it") is done


def test_what_the_base_completes_too_was_not_learnt_here() -> None:
    rows = [row(number, completion=f"{number} {LONG}") for number in range(4)]
    rests = [halve(one.completion)[1] for one in rows]
    measure = MemorisationMeasure(rows[:3], rows[3:])
    assert [ask.prefill + rest for ask, rest in zip(measure.asks(), rests, strict=True)] == [
        one.completion for one in rows
    ]
    ours, theirs, bare = voice(rests), voice(["no"] * 4), voice([rests[0], "no", "no", "no"])
    found = measure.measure(hear(ours, theirs, bare), COMPARE)
    figure = found.metrics["memorised_share"]
    assert figure.candidate.estimate == pytest.approx(2 / 3)
    assert (figure.champion.estimate, figure.rows) == (0.0, 3)
    assert found.details["memorised"] == ["row-1", "row-2"]
    assert found.details["test_rows"] == {"rows": 1, "candidate": 1.0, "champion": 0.0}


def test_no_training_rows_is_unknown() -> None:
    found = MemorisationMeasure([], []).measure(hear(voice([]), voice([])), COMPARE)
    assert not found.metrics["memorised_share"].candidate.known
