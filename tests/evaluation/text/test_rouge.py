from __future__ import annotations

import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rouge_score.rouge_scorer import RougeScorer

from flytewheel.evaluation.text import rouge
from flytewheel.evaluation.text.rouge import F1, PRECISION, RECALL, score_rouge

WORDS = st.sampled_from(
    ["the", "disk", "of", "Cache-7", "is", "full,", "restart", "it", "now!", "İß", "3.5", "._", "über", "ΣΑ", "磁"]
)  # fmt: skip
TEXT = st.lists(WORDS, max_size=12).map(" ".join) | st.text(st.characters(), max_size=30)
KINDS = ("rouge1", "rouge2", "rougeL")
ORACLE = RougeScorer(list(KINDS))


def ask_oracle(answers: list[str], references: list[str]) -> np.ndarray:
    scores = [ORACLE.score(wanted, said) for said, wanted in zip(answers, references, strict=True)]
    rows = [[[one[kind].precision, one[kind].recall, one[kind].fmeasure] for kind in KINDS] for one in scores]
    return np.array(rows).reshape(-1, 3, 3)


@given(st.lists(st.tuples(TEXT, TEXT), max_size=6))
@settings(max_examples=300, deadline=None)
def test_every_figure_is_that_of_rouge_score(pairs: list[tuple[str, str]]) -> None:
    """Texts of any code points, lone surrogates too, alone and among others."""
    answers, references = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
    np.testing.assert_allclose(score_rouge(answers, references), ask_oracle(answers, references), atol=1e-15, rtol=0)


def test_by_hand() -> None:
    """Of "the cat under the mat" and "the cat sat on the mat" (5 and 6 words): words the, cat, the, mat are common (4),
    pairs "the cat" and "the mat" (2 of 4 and 5), and "the cat the mat" in this order (4)."""
    scores = score_rouge(["the cat under the mat"], ["The cat sat on the mat."])[0]
    np.testing.assert_allclose(scores[0], [4 / 5, 4 / 6, 8 / 11])
    np.testing.assert_allclose(scores[1], [2 / 4, 2 / 5, 4 / 9])
    np.testing.assert_allclose(scores[2], [4 / 5, 4 / 6, 8 / 11])


def test_chunks_do_not_mix(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = random.Random(5)
    texts = [" ".join(rng.choices("abcdefgh", k=rng.randint(0, 9))) for _ in range(60)]
    answers, references = texts[:30], texts[30:]
    whole = score_rouge(answers, references)
    np.testing.assert_array_equal(whole, ask_oracle(answers, references))
    monkeypatch.setattr(rouge, "_CHUNK_LETTERS", 25)
    np.testing.assert_array_equal(score_rouge(answers, references), whole)
    monkeypatch.setattr(rouge, "_CHUNK_ROWS", 1)
    np.testing.assert_array_equal(score_rouge(answers, references), whole)


def test_more_words_than_the_first_plane_of_unicode_has_signs() -> None:
    """Word numbers pass the surrogates, which are no signs, and 65,536."""
    words = [str(number) for number in range(70_000)]
    scores = score_rouge([" ".join(words)], [" ".join(words[::2])])
    assert scores[0, 0, PRECISION] == 0.5
    assert scores[0, 0, RECALL] == 1
    assert scores[0, 2, RECALL] == 1
    assert scores[0, 1, F1] == 0


def test_lists_of_two_lengths_are_refused() -> None:
    with pytest.raises(ValueError, match="got 1 answers and 2 references"):
        score_rouge(["a"], ["a", "b"])
