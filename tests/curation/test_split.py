"""The split: both invariants as properties, shares, and what is lost where people share prompts."""

from __future__ import annotations

import random
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flytewheel.curation.split import check_disjoint, choose_part, draw_number, place_clusters, split_rows
from flytewheel.errors import DatasetError
from flytewheel.recipe import CurationSpec

Row = tuple[str, int]


def deal(
    rows: list[Row], salt: str = "flytewheel", holdout: float = 0.05
) -> tuple[dict[str, list[Row]], list[tuple[Row, str]]]:
    return split_rows(
        rows,
        user_of=lambda row: row[0],
        cluster_of=lambda row: row[1],
        spec=CurationSpec(split_salt=salt, holdout_share=holdout),
    )


@given(
    st.lists(st.tuples(st.integers(0, 40).map(str), st.integers(0, 25)), max_size=120),
    st.text(max_size=3),
    st.sampled_from((0.0, 0.05, 0.3)),
)
@settings(max_examples=150, deadline=None)
def test_no_user_and_no_cluster_stands_in_two_parts(rows: list[Row], salt: str, holdout: float) -> None:
    parts, left_out = deal(rows, salt, holdout)
    assert sum(map(len, parts.values())) + len(left_out) == len(rows)
    for column in (0, 1):
        groups = [{row[column] for row in own} for own in parts.values()]
        assert sum(map(len, groups)) == len(set().union(*groups))


def test_order_has_no_say() -> None:
    chance = random.Random(5)
    rows = [(f"u{chance.randrange(60)}", chance.randrange(40)) for _ in range(400)]
    parts, left_out = deal(rows)
    turned, others = deal(rows[::-1])
    assert {part: sorted(own) for part, own in parts.items()} == {part: sorted(own) for part, own in turned.items()}
    assert sorted(left_out) == sorted(others)


def test_parts_of_users_are_shares_and_stay() -> None:
    spec = CurationSpec()
    counts = Counter(choose_part(f"u{n}", spec) for n in range(20_000))
    assert counts["holdout"] / 20_000 == pytest.approx(0.05, abs=0.006)
    assert counts["train"] / 20_000 == pytest.approx(0.95 * 0.8, abs=0.01)
    assert counts["validation"] / 20_000 == pytest.approx(0.95 * 0.1, abs=0.01)
    assert counts["test"] / 20_000 == pytest.approx(0.95 * 0.1, abs=0.01)


def test_the_draw_is_fixed_for_ever() -> None:
    """SHA-256("7\\x1fann")[:8] / 2**64, worked out apart."""
    assert draw_number(7, "ann") == pytest.approx(0.83374, abs=1e-5)
    assert draw_number(7, "ann") == draw_number("7", "ann") != draw_number(8, "ann")
    # of the default salt: a change here moves users of every data set that was ever made
    users = ["ann", "bob", "eve", "joe", "kim", "lea", "max", "ned", "oda", "pia", "quin", "rob", "sue", "tim", "uma"]
    parts = [choose_part(user, CurationSpec()) for user in users]
    train = "train"
    assert parts == [
        "holdout", "validation", train, "test", train, train, "test", train, train, "test", *[train] * 5,
    ]  # fmt: skip


def test_a_smaller_holdout_share_moves_nobody_else() -> None:
    for user in (f"u{n}" for n in range(500)):
        with_, without = choose_part(user, CurationSpec()), choose_part(user, CurationSpec(holdout_share=0.0))
        assert with_ in ("holdout", without)


def test_another_salt_deals_anew() -> None:
    salted = CurationSpec(split_salt="other")
    assert any(choose_part(f"u{n}", salted) != choose_part(f"u{n}", CurationSpec()) for n in range(100))


def test_unshared_prompts_lose_nothing() -> None:
    rows = [(f"u{n % 300}", n) for n in range(2000)]
    assert deal(rows)[1] == []


def test_seldom_shared_prompts_take_their_strictest_part() -> None:
    present = {1: Counter(train=1, test=1), 2: Counter(train=2, validation=1), 3: Counter(validation=1, test=1)}
    present |= {4: Counter(train=1, holdout=1), 5: Counter(test=3, holdout=1)}
    present |= {10 + n: Counter(train=1) for n in range(60)}
    places = place_clusters(present)
    assert [places[name] for name in range(1, 6)] == ["test", "validation", "test", "holdout", "holdout"]
    assert places[10] == "train"


@pytest.mark.parametrize(("users_a_prompt", "kept"), [(4, 0.6), (15, 0.55)])
def test_shared_prompts_leave_most_rows(users_a_prompt: int, kept: float) -> None:
    chance = random.Random(3)
    rows = [(f"u{chance.randrange(400)}", n) for n in range(5200 // users_a_prompt) for _ in range(users_a_prompt)]
    parts, _ = deal(rows, holdout=0.0)
    assert sum(map(len, parts.values())) / len(rows) > kept
    assert len(parts["test"]) > 0.02 * len(rows)
    assert len(parts["validation"]) > 0.01 * len(rows)
    assert len(parts["train"]) > 0.5 * len(rows)


def test_overlap_is_refused() -> None:
    check_disjoint({"train": ["a"], "test": ["b", "b"]}, "user")
    with pytest.raises(DatasetError, match="user 'a' stands in train and in test"):
        check_disjoint({"train": ["a"], "test": ["a"]}, "user")
