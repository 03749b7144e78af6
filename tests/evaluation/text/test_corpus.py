"""BLEU, chrF and distinct-n: figures of everything that a model said."""

from __future__ import annotations

import numpy as np
import pytest
import sacrebleu
from hypothesis import given, settings
from hypothesis import strategies as st

from flytewheel.evaluation.bootstrap import ratio
from flytewheel.evaluation.text.bleu import bleu, count_bleu
from flytewheel.evaluation.text.chrf import chrf, count_chrf
from flytewheel.evaluation.text.distinct import share_distinct
from flytewheel.evaluation.text.words import count_words, split_words

WORDS = st.sampled_from(["the", "disk", "of", "Cache-7", "is", "full,", "restart", "it", "now", "İß", "3.5", "磁盘"])
TEXT = st.lists(WORDS, max_size=12).map(" ".join) | st.text(max_size=30)
PAIRS = st.lists(st.tuples(TEXT, TEXT), min_size=1, max_size=6)


@given(PAIRS)
@settings(max_examples=200, deadline=None)
def test_bleu_from_summed_counts_equals_sacrebleu(pairs: list[tuple[str, str]]) -> None:
    answers, references = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
    expected = sacrebleu.corpus_bleu(answers, [references]).score
    assert float(bleu(count_bleu(answers, references).sum(axis=0))) == pytest.approx(expected, abs=1e-9)


@given(PAIRS)
@settings(max_examples=200, deadline=None)
def test_chrf_from_summed_counts_equals_sacrebleu(pairs: list[tuple[str, str]]) -> None:
    answers, references = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
    expected = sacrebleu.corpus_chrf(answers, [references]).score
    assert float(chrf(count_chrf(answers, references).sum(axis=0))) == pytest.approx(expected, abs=1e-9)


def test_chrf_by_hand() -> None:
    """ "ab" against "abc": of one character 2 of 2 and 2 of 3, of two 1 of 1 and 1 of 2; three said nothing. Mean
    precision 1, recall 7/12: 100 * 5 * 7/12 / (4 + 7/12) = 700/11."""
    assert float(chrf(count_chrf(["a b"], ["abc"])[0])) == pytest.approx(700 / 11)


@pytest.mark.parametrize(("count", "score"), [(count_bleu, bleu), (count_chrf, chrf)])
def test_many_sums_at_once(count, score) -> None:  # type: ignore[no-untyped-def]
    counts = count(["restart the whole service now"] * 2, ["restart the whole service now", "何?"])
    scores = score(np.stack([counts[0], counts[1], counts.sum(axis=0)]))
    assert scores[0] == pytest.approx(100)
    assert scores[1] == 0
    assert 0 < scores[2] < 100


@given(st.lists(TEXT, min_size=1, max_size=8), st.sampled_from([1, 2]))
@settings(max_examples=200, deadline=None)
def test_distinct_shares_add_up_to_unique_over_all(answers: list[str], order: int) -> None:
    lines = [split_words(answer) for answer in answers]
    grams = [tuple(line[place : place + order]) for line in lines for place in range(len(line) - order + 1)]
    found = float(ratio(share_distinct(answers, order).sum(axis=0)))
    if grams:
        assert found == pytest.approx(len(set(grams)) / len(grams))
    else:
        assert np.isnan(found)


def test_distinct_by_hand() -> None:
    """Words: yes, it, is / yes: 3 unique of 4; pairs: "yes it", "it is": 2 of 2."""
    assert share_distinct(["Yes, it is.", "yes"], 1).sum(axis=0).tolist() == [3, 4]
    assert share_distinct(["Yes, it is.", "yes"], 2).sum(axis=0).tolist() == [2, 2]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Yes, It's ＦＵＬＬ_1", ["yes", "it", "s", "full_1"]),
        ("磁盘满了。ok", ["磁", "盘", "满", "了", "ok"]),
        ("की कि", ["की", "कि"]),
        ("", []),
        ("—?!", []),
    ],
)
def test_words_of_any_script(text: str, words: list[str]) -> None:
    assert split_words(text) == words


def test_words_are_counted_between_white_space_and_sign_by_sign_without() -> None:
    assert count_words(" two\n\twords ") == 2
    assert count_words("磁盘 is full") == 4
    assert count_words("") == 0
