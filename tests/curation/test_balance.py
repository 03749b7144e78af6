"""Caps and topics."""

from __future__ import annotations

import pytest

from flytewheel.curation.balance import balance_topics, cap_rows, weigh_topics
from flytewheel.curation.draft import Draft
from tests.curation.tables import make_draft


def places(drafts: list[Draft]) -> list[int]:
    return [draft.shown for draft in drafts]


def test_the_best_then_the_newest_rows_of_a_user_stay() -> None:
    rows = [make_draft(0), make_draft(1, rank=0.9), make_draft(2), make_draft(3, user="bob")]
    kept, account = cap_rows("sft", "train", rows, max_per_user=2, max_per_cluster=9)
    assert sorted(places(kept)) == [1, 2, 3]
    assert account.dropped == {"enough rows of the user": 1}
    assert account.name == "cap users and prompts (sft)"


def test_held_out_parts_keep_the_newest_whatever_their_rank() -> None:
    """What is judged by must not be the best of what there was."""
    rows = [make_draft(4, rank=0.1), make_draft(0, rank=0.9), make_draft(3), make_draft(1)]  # corrections come first
    kept, account = cap_rows("sft", "test", rows, max_per_user=2, max_per_cluster=9)
    assert places(kept) == [4, 3]
    assert account.name == "cap users and prompts (sft, test)"


def test_a_cluster_is_capped_over_users() -> None:
    rows = [make_draft(n, user=f"u{n}", cluster=1) for n in range(5)]
    kept, account = cap_rows("sft", "train", rows, max_per_user=9, max_per_cluster=2)
    assert places(kept) == [4, 3]
    assert account.dropped == {"enough rows of the prompt": 3}


def test_a_pair_counts_for_both_of_its_users() -> None:
    both = make_draft(0, users=("ann", "bob"), rank=1.0)
    kept, _ = cap_rows("preference", "train", [both, make_draft(1, user="bob")], max_per_user=1, max_per_cluster=9)
    assert kept == [both]


def test_topics_by_hand() -> None:
    """Sizes 100, 20, 10: the median is 20, twice that 40. A topic of three rows is kept and does not count."""
    sizes = {"a": 100, "b": 20, "c": 10, "rare": 3}
    rows = [make_draft(n, topic=topic, rank=n / 1000) for topic, size in sizes.items() for n in range(size)]
    kept, account = balance_topics("sft", rows, max_ratio=2.0)
    counts = {topic: sum(draft.topic == topic for draft in kept) for topic in sizes}
    assert counts == {"a": 40, "b": 20, "c": 10, "rare": 3}
    assert account.dropped == {"topic a above 40 rows": 60}
    assert min(draft.rank for draft in kept if draft.topic == "a") == 0.06


def test_of_equals_the_first_stay_where_topics_are_cut() -> None:
    """Drafts come from `cap_rows`, the newest of equals first."""
    rows = [make_draft(99 - n, topic="a") for n in range(30)] + [make_draft(n, topic="b") for n in range(10)]
    kept, _ = balance_topics("sft", rows, max_ratio=1.0)
    assert [draft.shown for draft in kept if draft.topic == "a"] == list(range(99, 79, -1))


def test_one_topic_stays_whole() -> None:
    rows = [make_draft(n) for n in range(30)]
    assert len(balance_topics("sft", rows, max_ratio=1.0)[0]) == 30


def test_weights_by_hand() -> None:
    """Sizes 100, 20, 10: the cap is 2 × 20 = 40, so that a row of the large topic weighs 40 / 100 and all of it 40."""
    topics = ["a"] * 100 + ["b"] * 20 + ["c"] * 10 + ["rare"] * 3
    weights = weigh_topics(topics, max_ratio=2.0)
    assert weights == [0.4] * 100 + [1.0] * 33
    assert sum(weights[:100]) == pytest.approx(40)


def test_a_weight_never_vanishes() -> None:
    """Ten topics of 10 rows and one of 20,000: the cap of 10 would give each of its rows 0.0005."""
    topics = [f"t{n}" for n in range(10) for _ in range(10)] + ["huge"] * 20_000
    weights = weigh_topics(topics, max_ratio=1.0)
    assert set(weights[:100]) == {1.0}
    assert set(weights[100:]) == {0.001}


def test_without_a_topic_that_counts_all_weigh_the_same() -> None:
    assert weigh_topics(["a", "b", "b"], max_ratio=1.0) == [1.0, 1.0, 1.0]
    assert weigh_topics([], max_ratio=1.0) == []
