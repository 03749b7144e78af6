"""Circles of rows that name each other, by hand and against a walk from every row."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flytewheel.feedback.links import find_circles, find_parent


@pytest.mark.parametrize(
    ("parents", "circles"),
    [
        ({}, set()),
        ({"a": "a"}, {"a"}),
        ({"a": "b", "b": "a", "c": "a"}, {"a", "b"}),
        ({"a": "b", "b": "c", "c": "gone"}, set()),
        ({"a": "b", "b": "c", "c": "b", "x": "x"}, {"b", "c", "x"}),
    ],
)
def test_circles_by_hand(parents: dict[str, str], circles: set[str]) -> None:
    assert find_circles(parents) == circles


@given(st.dictionaries(st.integers(0, 12).map(str), st.integers(0, 12).map(str)))
def test_a_row_is_in_a_circle_when_it_leads_to_itself(parents: dict[str, str]) -> None:
    def comes_back(start: str) -> bool:
        name: str | None = start
        for _ in range(len(parents)):
            name = parents.get(name) if name is not None else None
            if name == start:
                return True
        return False

    assert find_circles(parents) == {name for name in parents if comes_back(name)}


def test_a_long_chain_needs_no_recursion() -> None:
    chain = {str(n): str(n + 1) for n in range(200_000)}
    assert find_circles(chain) == set()
    assert len(find_circles({**chain, "200000": "0"})) == 200_001


def test_a_parent_is_an_id() -> None:
    assert find_parent({"parent_id": "a", "reply_to": "b"}) == "a"
    assert find_parent({"reply_to": 5}) == "5"
    assert find_parent({"parent_id": None}) is None
    assert find_parent({"parent_id": {"id": "a"}, "topic": "x"}) is None
