from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flytewheel.curation.ledger import EXAMPLE_CHARACTERS, Tally, merge_steps
from flytewheel.dataset import Step
from flytewheel.errors import DatasetError

DROPS = st.lists(
    st.tuples(
        st.sampled_from(["toxic", "empty"]),
        st.sampled_from(["", " ", "a", "b", "mail a@b.example", "mail c@d.example", "c", "d", "e", "\ud800"]),
        st.integers(0, 3),
        st.sampled_from(["", "", "k1", "k2", "k10"]),
    ),
    max_size=30,
)
DEALT = st.lists(st.integers(0, 2), min_size=30, max_size=30)


def account(drops: list[tuple[str, str, int, str]], rows_in: int) -> Tally:
    tally = Tally("screen", rows_in)
    for reason, text, count, key in drops:
        tally.drop(reason, text, count=count, key=key)
    return tally


@given(DROPS, DEALT, st.randoms())
def test_the_account_is_the_same_however_rows_are_dealt_and_ordered(
    drops: list[tuple[str, str, int, str]], dealt: list[int], chance: object
) -> None:
    whole = account(drops, 90).close(changed={"EMAIL": 3})
    shuffled = list(zip(drops, dealt, strict=False))
    chance.shuffle(shuffled)  # type: ignore[attr-defined]
    partitions = [[drop for drop, place in shuffled if place == each] for each in range(3)]
    tallies = [account(own, 30) for own in partitions]
    steps = [[tally.close(changed={"EMAIL": 1})] for tally in tallies]
    [merged] = merge_steps(steps)
    [nested] = merge_steps([merge_steps(steps[:2]), merge_steps(steps[2:])])
    added = tallies[2].merge(tallies[:2]).close(changed={"EMAIL": 3})
    assert merged == nested == added == whole
    assert merged.ranks == nested.ranks == added.ranks == whole.ranks


def test_examples_are_the_three_with_the_smallest_keys_else_hashes() -> None:
    """SHA-256 of a, b, c and d begins with ca97, 3e23, 2e7d and 18ac."""
    step = account([("r", text, 1, "") for text in "abcdab"], 6).close()
    assert (step.dropped, step.rows_out) == ({"r": 6}, 0)
    assert step.examples == {"r": ["d", "c", "b"]}
    keyed = account([("r", "a", 1, "1"), ("r", "b", 1, "4"), ("r", "c", 1, "3"), ("r", "d", 1, "2")], 4).close()
    assert keyed.examples == {"r": ["a", "d", "c"]}


def test_examples_are_redacted_put_on_one_line_and_cut() -> None:
    texts = ["write to\nann@corp.example", "card 4111\n1111 1111\n1111", "x " * 500, "\ud800 lone"]
    step = account([("r", text, 1, f"{n}") for n, text in enumerate(texts[:3])], 3).close()
    mail, card, long = step.examples["r"]
    assert mail.startswith("write to <EMAIL")
    assert "1111" not in card
    assert len(long) == EXAMPLE_CHARACTERS
    assert long.endswith("…")
    assert account([("r", texts[3], 1, "")], 1).close().examples == {"r": ["? lone"]}


def test_partitions_that_took_other_steps_are_refused() -> None:
    assert merge_steps([]) == []
    with pytest.raises(DatasetError, match=r"partitions took different steps \(a and b\): prepare them again"):
        merge_steps([[Step("a", 1, 1)], [Step("b", 1, 1)]])
