from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import brier_score_loss, log_loss

from flytewheel.training.pair_quality import (
    bin_confidences,
    calibration_error,
    choose_length_rule,
    count_right,
    describe_pairs,
    share_interval,
)

MARGINS = st.lists(st.floats(-30, 30), min_size=1, max_size=60)


def test_wilsons_interval_is_that_of_the_textbook() -> None:
    """8 of 10: centre (0.8 + 0.19207) / 1.38415 = 0.71674, half-width 1.95996 x 0.15946 / 1.38415 = 0.22659."""
    found = share_interval(8, 10)
    assert (found.estimate, found.low, found.high) == pytest.approx((0.8, 0.4901625, 0.9433178), abs=1e-6)
    assert share_interval(10, 10).high == pytest.approx(1)


def test_accuracy_and_calibration_by_hand() -> None:
    """Margins ln 3 and -ln 3 say 3/4 and 1/4: confidences 0.75 twice, right once: accuracy 1/2, ECE |1/2 - 3/4| = 1/4,
    log loss (ln 4/3 + ln 4) / 2, Brier ((1/4)^2 + (3/4)^2) / 2.
    """
    found = describe_pairs([math.log(3), -math.log(3)], [(5, 3), (2, 4)], "longer")
    assert found["accuracy"]["estimate"] == 0.5
    assert found["length_accuracy"]["estimate"] == 0.5
    assert found["calibration_error"] == pytest.approx(0.25)
    assert found["log_loss"] == pytest.approx((math.log(4 / 3) + math.log(4)) / 2)
    assert found["brier"] == pytest.approx((1 / 16 + 9 / 16) / 2)
    assert found["bins"] == [{"pairs": 2, "confidence": pytest.approx(0.75), "right": 0.5}]
    assert found["note"].startswith("only 2 held-out pairs")


def test_without_pairs_nothing_is_told() -> None:
    assert describe_pairs([], [], "longer") == {
        "pairs": 0,
        "note": "0 held-out pairs: accuracy and calibration cannot be told",
    }


def test_the_length_rule_is_the_better_one_and_ties_count_half() -> None:
    lengths = [(1, 2), (1, 2), (3, 2), (2, 2)]
    assert (count_right(lengths, "longer"), count_right(lengths, "shorter")) == (1.5, 2.5)
    assert choose_length_rule(lengths) == "shorter"
    assert choose_length_rule([(2, 1)]) == "longer"


@given(MARGINS)
def test_losses_are_those_of_scikit_learn(margins: list[float]) -> None:
    found = describe_pairs(margins, [(1, 1)] * len(margins), "longer")
    said = [1 / (1 + math.exp(-margin)) for margin in margins]
    ones = [1] * len(margins)
    assert found["brier"] == pytest.approx(brier_score_loss(ones, said), abs=1e-9)
    assert found["log_loss"] == pytest.approx(log_loss(ones, said, labels=[0, 1]), abs=1e-6)


@given(MARGINS)
def test_bins_hold_every_pair_once_and_swapping_sides_mirrors_what_is_right(margins: list[float]) -> None:
    bins = bin_confidences(margins)
    assert sum(each.pairs for each in bins) == len(margins)
    assert 0 <= calibration_error(bins) <= 1
    swapped = bin_confidences([-margin for margin in margins])
    right = [each.right + other.right for each, other in zip(bins, swapped, strict=True)]
    assert right == pytest.approx([1] * len(bins))
