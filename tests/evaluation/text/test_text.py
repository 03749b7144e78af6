from __future__ import annotations

import numpy as np
import pytest
import sacrebleu
from hypothesis import given, settings
from hypothesis import strategies as st
from rouge_score.rouge_scorer import RougeScorer

from flytewheel.evaluation.text.bleu import bleu, count_bleu
from flytewheel.evaluation.text.degeneration import is_degenerate
from flytewheel.evaluation.text.measure import count_words
from flytewheel.evaluation.text.rouge import rouge_l

WORDS = st.sampled_from(
    ["the", "disk", "of", "Cache-7", "is", "full,", "restart", "it", "now!", "İß", "3.5", "._", "über"]
)
SENTENCE = st.lists(WORDS, max_size=12).map(" ".join) | st.text(max_size=30)
ORACLE = RougeScorer(["rougeL"])


@given(SENTENCE, SENTENCE)
@settings(max_examples=300, deadline=None)
def test_rouge_l_equals_rouge_score(answer: str, reference: str) -> None:
    assert rouge_l(answer, reference) == pytest.approx(ORACLE.score(reference, answer)["rougeL"].fmeasure, abs=1e-15)


def test_rouge_l_by_hand() -> None:
    """Common subsequence "the cat the mat" is 4 of 5 said and of 6 wanted: 2 * 0.8 * 2/3 / (0.8 + 2/3) = 8/11."""
    assert rouge_l("the cat under the mat", "The cat sat on the mat.") == pytest.approx(8 / 11)


@given(st.lists(st.tuples(SENTENCE, SENTENCE), min_size=1, max_size=6))
@settings(max_examples=200, deadline=None)
def test_bleu_from_summed_counts_equals_sacrebleu(pairs: list[tuple[str, str]]) -> None:
    answers, references = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
    expected = sacrebleu.corpus_bleu(answers, [references]).score
    assert float(bleu(count_bleu(answers, references).sum(axis=0))) == pytest.approx(expected, abs=1e-9)


def test_bleu_works_on_many_sums_at_once() -> None:
    counts = count_bleu(["restart the whole service now"] * 2, ["restart the whole service now", "delete it"])
    scores = bleu(np.stack([counts[0], counts[1], counts.sum(axis=0)]))
    assert scores[0] == pytest.approx(100)
    assert scores[1] == 0
    assert 0 < scores[2] < 100


@pytest.mark.parametrize(
    "answer",
    [
        "",
        " \n ",
        "check the log " * 4,
        "Fine, then: " + "no " * 8,
        "abc" * 40,
        "First look at the queue. " + "Restart it, wait, and look again. " * 4,
    ],
)
def test_empty_and_looping_answers_are_degenerate(answer: str) -> None:
    assert is_degenerate(answer)


@pytest.mark.parametrize(
    "answer",
    [
        "ok",
        "no no no",
        "1. Check the dashboard. 2. Run the command. 3. Check the dashboard. 4. Run the command.",
        "Title\n" + "-" * 200 + "\nText",
        "abc" * 20,
        "check the log " * 3,
    ],
)
def test_sound_answers_are_not_degenerate(answer: str) -> None:
    assert not is_degenerate(answer)


def test_words_are_counted_between_white_space() -> None:
    assert count_words(" two\n\twords ") == 2
