"""The split: both invariants as properties, shares, and what is lost where people share prompts."""

from __future__ import annotations

import random
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flytewheel.curation.split import check_disjoint, choose_part, draw_number, place_clusters, split_rows
from flytewheel.errors import DatasetError

Row = tuple[str, str]


def deal(rows: list[Row], seed: int = 7) -> tuple[dict[str, list[Row]], list[tuple[Row, str]]]:
    return split_rows(
        rows,
        user_of=lambda row: row[0],
        cluster_of=lambda row: row[1],
        seed=seed,
        train_share=0.8,
        validation_share=0.1,
    )


@given(st.lists(st.tuples(st.integers(0, 40).map(str), st.integers(0, 25).map(str)), max_size=120), st.integers(0, 50))
@settings(max_examples=150, deadline=None)
def test_no_user_and_no_cluster_stands_in_two_parts(rows: list[Row], seed: int) -> None:
    parts, left_out = deal(rows, seed)
    assert sum(map(len, parts.values())) + len(left_out) == len(rows)
    for column in (0, 1):
        groups = [{row[column] for row in own} for own in parts.values()]
        assert sum(map(len, groups)) == len(set().union(*groups))


def test_parts_of_users_are_shares_and_stay() -> None:
    counts = Counter(choose_part(f"u{n}", seed=7, train_share=0.8, validation_share=0.1) for n in range(20_000))
    assert counts["train"] / 20_000 == pytest.approx(0.8, abs=0.01)
    assert counts["test"] / 20_000 == pytest.approx(0.1, abs=0.01)
    assert draw_number(7, "ann") == draw_number("7", "ann") != draw_number(8, "ann")
    # SHA-256("7\\x1fann")[:8] / 2**64, worked out apart
    assert draw_number(7, "ann") == pytest.approx(0.83374, abs=1e-5)


def test_unshared_prompts_lose_nothing() -> None:
    rows = [(f"u{n % 300}", f"c{n}") for n in range(2000)]
    assert deal(rows)[1] == []


def test_seldom_shared_prompts_take_their_strictest_part() -> None:
    present = {"a": Counter(train=1, test=1), "b": Counter(train=2, validation=1), "c": Counter(validation=1, test=1)}
    present |= {f"t{n}": Counter(train=1) for n in range(20)}
    places = place_clusters(present)
    assert (places["a"], places["b"], places["c"]) == ("test", "validation", "test")
    assert places["t0"] == "train"


@pytest.mark.parametrize(("users_a_prompt", "kept"), [(4, 0.6), (15, 0.55)])
def test_shared_prompts_leave_most_rows(users_a_prompt: int, kept: float) -> None:
    chance = random.Random(3)
    rows = [
        (f"u{chance.randrange(400)}", f"c{n}") for n in range(5200 // users_a_prompt) for _ in range(users_a_prompt)
    ]
    parts, _ = deal(rows)
    assert sum(map(len, parts.values())) / len(rows) > kept
    assert len(parts["test"]) > 0.02 * len(rows)
    assert len(parts["validation"]) > 0.01 * len(rows)
    assert len(parts["train"]) > 0.5 * len(rows)


def test_overlap_is_refused() -> None:
    check_disjoint({"train": ["a"], "test": ["b", "b"]}, "user")
    with pytest.raises(DatasetError, match="user 'a' stands in train and in test"):
        check_disjoint({"train": ["a"], "test": ["a"]}, "user")
