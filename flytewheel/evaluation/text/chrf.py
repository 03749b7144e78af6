"""Corpus chrF as a function of counts that may be summed over rows (Popović 2015): character n-grams of 1 to 6, beta 2.

Equal to sacrebleu's `CHRF` with its defaults, whose counts are not public: the bootstrap resamples users and needs
their sums. Unlike BLEU and ROUGE it has no idea of a word, so it reads every script.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

ORDERS = 6
_BETA_SQUARED = 4.0


def count_chrf(answers: Sequence[str], references: Sequence[str]) -> NDArray[np.float64]:
    """Counts what corpus chrF is made of, row by row; white space is no character.

    Returns:
        (rows, 18): for n = 1 to 6 the n-grams of the answer (0 where the reference has none), of the reference, and
        those that both have.
    """
    table = np.zeros((len(answers), 3 * ORDERS))
    for index, (answer, reference) in enumerate(zip(answers, references, strict=True)):
        said, wanted = "".join(answer.split()), "".join(reference.split())
        for order in range(1, ORDERS + 1):
            ours, theirs = _count_grams(said, order), _count_grams(wanted, order)
            common = sum(min(times, theirs[gram]) for gram, times in ours.items() if gram in theirs)
            table[index, 3 * order - 3 : 3 * order] = (
                ours.total() if theirs else 0,
                theirs.total(),
                common,
            )
    return table


def chrf(sums: NDArray[np.float64]) -> NDArray[np.float64]:
    """Corpus chrF in [0, 100] from summed counts.

    Args:
        sums: (..., 18), columns as `count_chrf` gives them.

    Returns:
        (...): equal to `sacrebleu.corpus_chrf` over the rows that were summed; 0 where nothing matches.
    """
    said, wanted, common = sums[..., 0::3], sums[..., 1::3], sums[..., 2::3]
    counted = (said > 0) & (wanted > 0)
    orders = counted.sum(axis=-1)
    with np.errstate(divide="ignore", invalid="ignore"):
        precision = np.where(counted, common / said, 0.0).sum(axis=-1) / orders
        recall = np.where(counted, common / wanted, 0.0).sum(axis=-1) / orders
        score = 100 * (1 + _BETA_SQUARED) * precision * recall / (_BETA_SQUARED * precision + recall)
    return np.where((orders > 0) & (precision + recall > 0), score, 0.0)


def _count_grams(text: str, order: int) -> Counter[str]:
    return Counter([text[start : start + order] for start in range(len(text) - order + 1)])
