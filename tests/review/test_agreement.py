"""Kappa by hand, against scikit-learn, and its interval by simulation."""

from __future__ import annotations

import math
import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import cohen_kappa_score

from flytewheel.records import ReviewLabel
from flytewheel.review.agreement import (
    Agreement,
    cohen_kappa,
    describe_agreement,
    measure_agreement,
    standard_error,
    to_json,
)
from flytewheel.review.deal import LABELS

SAID = st.sampled_from(LABELS)


def label(pairs: list[tuple[str, str]], names: tuple[str, str] = ("ada", "bob")) -> list[ReviewLabel]:
    return [
        ReviewLabel(f"d{number}", name, said)  # type: ignore[arg-type]
        for number, both in enumerate(pairs)
        for name, said in zip(names, both, strict=True)
    ]


def test_kappa_by_hand() -> None:
    """20 duels: 8 both ours, 6 both theirs, 2 both tie, 2 ours/theirs, 1 theirs/ours, 1 theirs/tie.

    p_o = 16/20 = 0.8. Ada says ours 10, theirs 8, tie 2; Bob ours 9, theirs 8, tie 3:
    p_e = (10·9 + 8·8 + 2·3) / 400 = 160/400 = 0.4; kappa = (0.8 - 0.4) / 0.6 = 2/3.
    """
    pairs = [("ours", "ours")] * 8 + [("theirs", "theirs")] * 6 + [("tie", "tie")] * 2
    pairs += [("ours", "theirs")] * 2 + [("theirs", "ours"), ("theirs", "tie")]
    found = measure_agreement(label(pairs))
    assert found.kappa.estimate == pytest.approx(2 / 3, abs=1e-12)
    assert found.shared == 20
    (pair,) = found.pairs
    assert (pair.observed, pair.expected) == (pytest.approx(0.8), pytest.approx(0.4))
    assert found.kappa.low is not None
    assert found.kappa.high is not None
    assert found.kappa.low < 2 / 3 < found.kappa.high
    assert "Cohen's kappa 0.67" in describe_agreement(found)


def test_the_standard_error_of_the_paper_s_own_example() -> None:
    """Fleiss, Cohen and Everitt 1969, table 1: 200 patients, kappa 0.429, variance 0.002885."""
    shares = np.array([[0.53, 0.05, 0.02], [0.11, 0.14, 0.05], [0.01, 0.06, 0.03]])
    assert float(cohen_kappa(200 * shares)) == pytest.approx(0.429, abs=5e-4)
    found = standard_error(200 * shares)
    assert found is not None
    assert found**2 == pytest.approx(0.002885, abs=2e-6)


@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(SAID, SAID), min_size=1, max_size=40))
def test_kappa_is_that_of_scikit_learn(pairs: list[tuple[str, str]]) -> None:
    found = measure_agreement(label(pairs), samples=20).kappa.estimate
    if len({said for both in pairs for said in both}) == 1:
        assert found is None  # scikit-learn has NaN, with a warning
        return
    assert found == pytest.approx(cohen_kappa_score(*zip(*pairs, strict=True)), abs=1e-12)


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        ([], "takes two reviewers"),
        ([ReviewLabel("d", "ada", "ours")], "takes two reviewers"),
        ([ReviewLabel("d", "ada", "ours"), ReviewLabel("e", "bob", "ours")], "no duel has two labels"),
        (label([("tie", "tie")] * 12), "one and the same of all 12"),
    ],
)
def test_what_cannot_be_told_is_neither_one_nor_zero(labels: list[ReviewLabel], words: str) -> None:
    found = measure_agreement(labels)
    assert found.kappa.estimate is None
    assert found.kappa.low is None
    assert to_json(found)["kappa"] is None
    assert "cannot tell" in describe_agreement(found)
    assert words in describe_agreement(found)


def test_three_who_all_agree_are_not_certain() -> None:
    found = measure_agreement(label([("ours", "ours"), ("theirs", "theirs"), ("tie", "tie")]))
    assert found.kappa.estimate == 1
    assert found.kappa.low is not None
    assert found.kappa.low < 0.4


def test_more_than_two_reviewers_by_the_mean_over_pairs_weighted_by_what_they_share() -> None:
    """Ada and Bob share 10 and agree (kappa 1); Ada and Cy share 5 (kappa below); Bob and Cy the same 5."""
    pairs = [("ours", "ours"), ("theirs", "theirs")] * 5
    cy = ["ours", "theirs", "theirs", "theirs", "tie"]
    labels = label(pairs) + [ReviewLabel(f"d{n}", "cy", said) for n, said in enumerate(cy)]  # type: ignore[arg-type]
    found = measure_agreement(labels)
    between = cohen_kappa_score(["ours", "theirs", "ours", "theirs", "ours"], cy)
    assert found.reviewers == ("ada", "bob", "cy")
    assert [pair.shared for pair in found.pairs] == [10, 5, 5]
    assert found.kappa.estimate == pytest.approx((10 * 1 + 5 * between + 5 * between) / 20)
    assert "mean kappa of pairs" in describe_agreement(found)
    assert "ada" not in str(to_json(found))


def test_the_order_of_labels_does_not_matter() -> None:
    chance = random.Random(4)
    labels = label([(chance.choice(LABELS), chance.choice(LABELS)) for _ in range(30)])
    assert measure_agreement(labels) == measure_agreement(labels[::-1])


@pytest.mark.parametrize(("duels", "skill"), [(8, 0.7), (20, 0.3), (20, 0.9), (60, 0.7)])
def test_the_interval_holds_the_true_kappa(duels: int, skill: float) -> None:
    """Both know the truth with probability `skill` and else guess; 200 reviews, coverage at 95 % nominal ≥ 90 %."""
    shares = np.array([0.4, 0.4, 0.2])
    joint = sum(shares[truth] * np.outer(*[skill * np.eye(3)[truth] + (1 - skill) * shares] * 2) for truth in range(3))
    true = float(cohen_kappa(joint))
    rng = np.random.default_rng(7)
    held = told = 0
    for _ in range(200):
        cells = rng.choice(9, size=duels, p=joint.ravel())
        found = measure_agreement(label([(LABELS[c // 3], LABELS[c % 3]) for c in cells]), samples=300)
        if found.kappa.low is not None and found.kappa.high is not None:
            told += 1
            held += found.kappa.low <= true <= found.kappa.high
    assert told > 150
    assert held / told >= 0.9


def test_an_empty_review_is_an_agreement_too() -> None:
    assert measure_agreement([]) == Agreement((), 0, measure_agreement([]).kappa, ())
    assert math.isnan(float(cohen_kappa(np.zeros((3, 3)))))
