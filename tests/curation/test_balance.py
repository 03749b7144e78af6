"""Caps and topics."""

from __future__ import annotations

from flytewheel.curation.balance import balance_topics, cap_rows
from flytewheel.curation.draft import Draft
from flytewheel.curation.duplicates import describe_prompt
from flytewheel.records import SftRow, build_prompt


def draft(
    number: int, user: str = "ann", topic: str = "disk", cluster: str = "", quality: float = 0.5
) -> Draft[SftRow]:
    prompt = build_prompt(f"question {number}")
    row = SftRow(f"r{number:03d}", user, topic, prompt, "answer", 1.0, quality, "answer")
    return Draft(row, describe_prompt(prompt), cluster or str(number), (user,), quality)


def ids(drafts: list[Draft[SftRow]]) -> list[str]:
    return [one.row.id for one in drafts]


def test_the_best_then_the_newest_rows_of_a_user_stay() -> None:
    rows = [draft(0), draft(1, quality=0.9), draft(2), draft(3, user="bob")]
    kept, step = cap_rows("sft", rows, max_per_user=2, max_per_cluster=9)
    assert sorted(ids(kept)) == ["r001", "r002", "r003"]
    assert step.dropped == {"enough rows of the user": 1}


def test_a_cluster_is_capped_over_users() -> None:
    rows = [draft(n, user=f"u{n}", cluster="same") for n in range(5)]
    kept, step = cap_rows("sft", rows, max_per_user=9, max_per_cluster=2)
    assert ids(kept) == ["r004", "r003"]
    assert step.dropped == {"enough rows of the prompt": 3}


def test_a_pair_counts_for_both_of_its_users() -> None:
    shared = draft(0)
    both = Draft(shared.row, shared.text, "c", ("ann", "bob"), 1.0)
    kept, _ = cap_rows("preference", [both, draft(1, user="bob")], max_per_user=1, max_per_cluster=9)
    assert kept == [both]


def test_topics_by_hand() -> None:
    """Sizes 100, 20, 10: the median is 20, twice that 40. A topic of three rows is kept and does not count."""
    sizes = {"a": 100, "b": 20, "c": 10, "rare": 3}
    rows = [draft(n, topic=topic, quality=n / 1000) for topic, size in sizes.items() for n in range(size)]
    kept, step = balance_topics("sft", rows, max_ratio=2.0)
    counts = {topic: sum(one.row.topic == topic for one in kept) for topic in sizes}
    assert counts == {"a": 40, "b": 20, "c": 10, "rare": 3}
    assert step.dropped == {"topic a above 40 rows": 60}
    assert min(one.rank for one in kept if one.row.topic == "a") == 0.06


def test_one_topic_stays_whole() -> None:
    rows = [draft(n) for n in range(30)]
    assert len(balance_topics("sft", rows, max_ratio=1.0)[0]) == 30
