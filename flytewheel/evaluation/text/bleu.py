"""Corpus BLEU as a function of counts that may be summed over rows (Papineni et al. 2002), not a mean over sentences.

The bootstrap resamples users and needs their sums. Counting is left to sacrebleu (13a tokens); only its closing formula
is repeated here, over whole arrays.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

ORDERS = 4
BLEU_COLUMNS = 2 + 2 * ORDERS


def count_bleu(answers: Sequence[str], references: Sequence[str]) -> NDArray[np.float64]:
    """Counts what corpus BLEU is made of, row by row.

    Returns:
        (rows, 10): tokens of the answer, tokens of the reference, matched n-grams and n-grams of the answer for n = 1
        to 4.
    """
    from sacrebleu.metrics.bleu import BLEU

    counter: Any = BLEU(effective_order=True)  # this flag changes no count and silences a warning on single sentences
    table = np.zeros((len(answers), BLEU_COLUMNS))
    for index, (answer, reference) in enumerate(zip(answers, references, strict=True)):
        score = counter.sentence_score(answer, [reference])
        table[index] = [score.sys_len, score.ref_len, *score.counts, *score.totals]
    return table


def bleu(sums: NDArray[np.float64]) -> NDArray[np.float64]:
    """Corpus BLEU in [0, 100] from summed counts, with sacrebleu's default (exponential) smoothing.

    Args:
        sums: (..., 10), columns as `count_bleu` gives them.

    Returns:
        (...): equal to `sacrebleu.corpus_bleu` over the rows that were summed; 0 where no n-gram matches.
    """
    said, wanted = sums[..., 0], sums[..., 1]
    matched, total = sums[..., 2 : 2 + ORDERS], sums[..., 2 + ORDERS :]
    missed = np.cumsum((matched == 0) & (total > 0), axis=-1)
    with np.errstate(divide="ignore", invalid="ignore"):
        precision = np.where(matched > 0, matched / total, 1.0 / (np.exp2(missed) * total))
        brevity = np.where(said < wanted, np.exp(1 - wanted / said), 1.0)
        score = 100 * brevity * np.exp(np.log(precision).mean(axis=-1))
    tellable = (matched.sum(axis=-1) > 0) & (total > 0).all(axis=-1)
    return np.where(tellable, score, 0.0)
