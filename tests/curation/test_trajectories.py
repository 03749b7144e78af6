"""Sessions as rows: every turn once, the rewards beside, and a session reward by hand."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flytewheel.curation.trajectories import Session, Turn, build_trajectories, score_session
from flytewheel.records import Message

NOON = datetime(2026, 11, 9, 12, tzinfo=UTC)


def talk(*texts: str) -> tuple[Message, ...]:
    return tuple(Message(role="assistant" if place % 2 else "user", content=text) for place, text in enumerate(texts))


def turn(minute: int, query: str, response: str, *history: str, **more: Any) -> Turn:
    given = more.pop("turns", talk(*history))
    return Turn(f"i{minute}", NOON + timedelta(minutes=minute), query, response, given, events=(f"e{minute}",), **more)


def build(*turns: Turn) -> Any:
    rows = build_trajectories([Session("u", "s", tuple(turns), "queues")])
    return rows[0] if rows else None


def texts(row: Any) -> list[str]:
    return [message.content for message in row.messages]


def test_histories_are_aligned() -> None:
    row = build(
        turn(2, "c", "C", "a", "A", " b\n", "B", reward=-1.0, explicit=True),
        turn(0, "a", "A", reward=0.5),
        turn(1, "b", "B", "a", "A"),
    )
    assert texts(row) == ["a", "A", " b\n", "B", "c", "C"]
    assert (row.rewards, row.reward) == ((0.5, None, -1.0), -0.5)  # (0.5 - 1 - 1) / 3
    assert (row.interactions, row.events, row.topic) == (("i0", "i1", "i2"), ("e0", "e1", "e2"), "queues")


def test_without_histories_turns_follow_each_other() -> None:
    assert texts(build(turn(1, "b", "B"), turn(0, "a", "A"), turn(2, "a", "A"))) == ["a", "A", "b", "B", "a", "A"]
    assert texts(build(turn(0, "a", "A", "x", "X"), turn(1, "b", "B", "y", "Y"))) == ["x", "X", "a", "A", "b", "B"]


def test_window_over_the_end_doubles_nothing() -> None:
    row = build(
        turn(0, "a", "A"),
        turn(1, "b", "B", "a", "A"),
        turn(2, "c", "C", "b", "B"),
        turn(3, "d", "D", "b", "B", "c", "C"),
    )
    assert texts(row) == ["a", "A", "b", "B", "c", "C", "d", "D"]
    assert row.interactions == ("i0", "i1", "i2", "i3")


def test_turns_in_between_are_kept() -> None:
    row = build(turn(0, "a", "A", reward=1.0), turn(5, "c", "C", "a", "A", "b", "B", reward=0.0))
    assert texts(row) == ["a", "A", "b", "B", "c", "C"]
    assert row.rewards == (1.0, 0.0)  # of the answers that an interaction served
    row = build(turn(0, "x", "X"), turn(1, "a", "A"), turn(5, "c", "C", "a", "A", "b", "B"))
    assert texts(row) == ["x", "X", "a", "A", "b", "B", "c", "C"]


def test_an_answer_asked_for_again_gives_way() -> None:
    row = build(turn(0, "a", "A"), turn(1, "b", "B", "a", "A", reward=-1.0), turn(2, "b", "B2", "a", "A", reward=1.0))
    assert (texts(row), row.rewards, row.interactions) == (["a", "A", "b", "B2"], (None, 1.0), ("i0", "i2"))
    row = build(turn(0, "a", "bad"), turn(1, "a", "A"), turn(2, "b", "B", "a", "A"))
    assert (texts(row), row.interactions) == (["a", "A", "b", "B"], ("i1", "i2"))
    row = build(turn(0, "a", "A"), turn(1, "b", "B", "a", "A", reward=1.0), turn(2, "b", "B", "a", "A"))
    assert (texts(row), row.rewards) == (["a", "A", "b", "B"], (None, 1.0))
    assert row.interactions == ("i0", "i1", "i2")


def test_back_to_an_earlier_point() -> None:
    row = build(
        turn(0, "a", "A"),
        turn(1, "b", "B", "a", "A"),
        turn(2, "c", "C", "a", "A", "b", "B"),
        turn(3, "d", "D", "a", "A"),
    )
    assert (texts(row), row.interactions) == (["a", "A", "d", "D"], ("i0", "i3"))


def test_system_and_context_open_the_row() -> None:
    given = (Message(role="system", content="Be brief."), *talk("a", "A"))
    row = build(turn(0, "a", "A", system="Be brief.", context="one"), turn(1, "b", "B", turns=given, context="two"))
    assert row.messages[0] == Message(role="system", content="Be brief.\n\nContext:\none\n\ntwo")
    assert texts(row)[1:] == ["a", "A", "b", "B"]


def test_one_answer_is_no_trajectory() -> None:
    assert build(turn(0, "a", "A")) is None
    assert build(turn(0, "a", "A"), turn(1, "b", "  ")) is None
    assert build(turn(0, "a", "A"), turn(1, "a", "A")) is None  # sent twice
    assert build(turn(0, "b", "B", "a", "A")) is not None


@pytest.mark.parametrize(
    ("rewards", "wanted"),
    [
        ([], None),
        ([(None, False)], None),
        ([(1.0, True)], 1.0),
        ([(0.6, False), (None, True), (0.4, False)], 0.5),
        ([(1.0, True), (-1.0, True)], -0.333333),  # (1 - 1 - 1) / 3
        ([(-1.0, True), (1.0, True), (0.4, False)], 0.35),  # (-1 + 1 + 0.4 + 1) / 4
    ],
)
def test_reward_of_a_session(rewards: list[tuple[float | None, bool]], wanted: float | None) -> None:
    assert score_session(rewards) == wanted


@settings(deadline=None)
@given(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from("AB"), st.integers(0, 5)), max_size=6), st.randoms())
def test_order_of_the_input_is_no_matter(drawn: list[tuple[str, str, int]], dice: random.Random) -> None:
    said: list[str] = []
    turns = []
    for place, (query, response, back) in enumerate(drawn):
        turns.append(turn(place, query, response, *said[2 * back :], reward=place / 10))
        said += [query, response]
    rows = build_trajectories([Session("u", "s", tuple(turns)), Session("u", "t", tuple(turns))])
    dice.shuffle(turns)
    assert build_trajectories([Session("u", "t", tuple(turns)), Session("u", "s", tuple(turns))]) == rows
    for row in rows:
        assert [message.role for message in row.messages] == ["user", "assistant"] * (len(row.messages) // 2)
        assert len(row.rewards) <= len(row.messages) // 2
        assert len({*row.interactions}) == len(row.interactions)
