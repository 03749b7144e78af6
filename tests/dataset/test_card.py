from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from flytewheel.dataset import Dataset, DatasetCard, Step, count_lengths, count_scores, describe_pairs
from flytewheel.dataset.card import commit_card, length_labels, read_card
from flytewheel.errors import DatasetError
from flytewheel.records import Preference

from .made import ASK, CARD


def test_a_card_comes_back_as_it_was_written(tmp_path: Path) -> None:
    for card in (CARD, DatasetCard("d", "c", (), 0, 0, (), {}, {}, {})):  # every later field has a default
        commit_card(tmp_path, card)
        assert read_card(tmp_path) == card
    assert [path.name for path in tmp_path.iterdir()] == ["card.json"]


def test_reasons_are_summed_over_the_steps() -> None:
    assert CARD.dropped == {"toxic": 2, "empty": 2}


def test_what_orders_examples_never_gets_into_a_card(tmp_path: Path) -> None:
    step = Step("screen", 1, 0, {"toxic": 1}, {"toxic": ["<EMAIL_1>"]}, ranks={"toxic": ["feedfacefeedface"]})
    card = replace(CARD, steps=(step,))
    assert card.steps[0].ranks == {}
    assert "feedface" not in json.dumps(card.to_json())


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (None, r"no readable data set card \(No such file"),
        ("{half", "no readable data set card"),
        ("[]", r"no readable data set card \(not an object\)"),
        ({"format": None}, "a data set of format 1, this flytewheel reads 2; curate again"),
        ({"format": 3}, "a data set of format 3, this flytewheel reads 2"),
        ({"mood": "good"}, "the card has unknown fields mood; curate again"),
        ({"digest": None}, r"no readable data set card \(digest: required, but missing\)"),
        ({"interactions": "many"}, r"no readable data set card \(interactions: .*\); curate again"),
        ({"steps": [{"name": "x"}]}, r"steps\.0\.rows_in: required, but missing"),
        ({"steps": 3}, r"no readable data set card \(steps"),
        ({"funnel": [["a"]]}, r"no readable data set card \(funnel"),
    ],
)
def test_a_card_that_cannot_be_read_is_one_line(tmp_path: Path, change: Any, said: str) -> None:
    """`None` as a value takes the field away; the format was first written down in version 2."""
    commit_card(tmp_path, CARD)
    path = tmp_path / "card.json"
    if change is None:
        path.unlink()
    elif isinstance(change, str):
        path.write_text(change)
    else:
        raw = json.loads(path.read_text()) | change
        path.write_text(json.dumps({name: value for name, value in raw.items() if value is not None}))
    with pytest.raises(DatasetError, match=said) as caught:
        Dataset(tmp_path)
    assert "\n" not in str(caught.value)


def test_scores_and_lengths_fall_into_fixed_bins() -> None:
    """Twentieths: 0.7 + 0.1 is 0.7999999999999999 in floats and bin 16 on paper; 1 belongs to the last bin."""
    counts = count_scores([0, 0.0499, 0.05, 0.15, 0.55, 0.7 + 0.1, 0.95, 1.0])
    assert {n: count for n, count in enumerate(counts) if count} == {0: 2, 1: 1, 3: 1, 11: 1, 16: 1, 19: 2}
    assert [count_scores([n / 20])[n] for n in range(20)] == [1] * 20
    lengths = count_lengths([0, 1, 2, 3, 4, 7, 8, 4095, 4096, 10**6])
    assert {n: count for n, count in enumerate(lengths) if count} == {0: 1, 1: 1, 2: 2, 3: 2, 4: 1, 12: 1, 13: 2}
    assert length_labels()[:5] == ["0", "1", "2–3", "4–7", "8–15"]
    assert length_labels()[-2:] == ["2,048–4,095", "≥ 4,096"]
    assert len(length_labels()) == len(lengths)


def test_pairs_say_whether_the_chosen_answer_is_simply_longer() -> None:
    """Words: 3 - 1, 1 - 2, 2 - 2: mean 1/3; longer in one of three. Margins 0.3, 2.0 and 1.0: bins 3, 19 and 10."""
    pairs = [
        Preference("a", "u", "t", ASK, "one two three", "one", 0.3, "duel"),
        Preference("b", "u", "t", ASK, "one", "one two", 2.0, "duel"),
        Preference("c", "u", "t", ASK, "one two", "two one", 1.0, "edit"),
    ]
    found = describe_pairs(iter(pairs))
    assert (found["count"], found["sources"]) == (3, {"duel": 2, "edit": 1})
    assert {n: count for n, count in enumerate(found["margins"]) if count} == {3: 1, 10: 1, 19: 1}
    bias = {"mean_words": 0.333333, "share_longer": 0.333333, "share_shorter": 0.333333}
    assert found["length_bias"] == bias
    assert describe_pairs([])["length_bias"] == dict.fromkeys(bias)
