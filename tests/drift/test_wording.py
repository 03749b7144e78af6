"""Hashed n-grams and the classifier that tells new prompts from old ones, on people whom it has not seen."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flytewheel.drift.wording import FEATURES_BITS, hash_ngrams, rank_rows


def measure_auc(texts: list[str], is_new: list[bool], users: list[int]) -> float:
    new = np.array(is_new)
    ranks = rank_rows(hash_ngrams(texts), new, np.array(users), np.where(new, 1 / new.sum(), 1 / (~new).sum()))
    return float(0.5 + ranks[new].mean() - ranks[~new].mean())


def test_rows_are_of_unit_length_and_the_same_everywhere() -> None:
    found = hash_ngrams(["The disk is full", "the  DISK is\nfull", "error 4711", "error 12", ""])
    assert found.shape == (5, 1 << FEATURES_BITS)
    rows = found.toarray()
    assert np.array_equal(rows[0], rows[1])
    assert np.array_equal(rows[2], rows[3])  # numbers are all alike
    assert np.linalg.norm(rows, axis=1)[:4] == pytest.approx(1.0)
    # " ab " has the 3-grams " ab" and "ab ", and one 4-gram; the hash is fixed, so are their places.
    assert sorted(hash_ngrams(["ab"]).indices.tolist()) == [875, 1957, 3113]


@given(st.lists(st.text(st.characters(), max_size=30), max_size=6))
def test_any_text_can_be_hashed(texts: list[str]) -> None:
    """Also lone surrogates, combining marks and nothing at all; a row never takes n-grams of its neighbour."""
    whole = hash_ngrams(texts).toarray()
    for place, text in enumerate(texts):
        assert np.array_equal(whole[place], hash_ngrams([text]).toarray()[0])


def test_other_words_are_told_and_the_same_are_not() -> None:
    chance = np.random.default_rng(3)
    users = [number % 100 for number in range(600)]
    is_new = [number >= 300 for number in range(600)]
    things = ["disk", "mail", "login", "invoice"]
    same = [f"my {chance.choice(things)} does not work {chance.integers(9)}" for _ in range(600)]
    assert measure_auc(same, is_new, users) == pytest.approx(0.5, abs=0.06)
    other = [
        text.replace("does not work", "is borked") if new else text for text, new in zip(same, is_new, strict=True)
    ]
    assert measure_auc(other, is_new, users) > 0.95


def test_peoples_own_words_give_nothing_away() -> None:
    """Everybody has a word of their own, and half of the people are new: rows split at random would tell them."""
    texts = [f"please help, yours {'abcdefghij'[number % 10] * 3}{number // 4:03d}q" for number in range(400)]
    users = [number // 4 for number in range(400)]
    is_new = [user % 2 == 0 for user in users]
    assert measure_auc(texts, is_new, users) == pytest.approx(0.5, abs=0.12)
