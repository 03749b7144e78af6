"""Scores an answer's text against its reference: BLEU, ROUGE-L, length, and whether it degenerated.

Each function gives figures of one row that may be summed over rows, because the bootstrap resamples users and needs
their sums: corpus BLEU is a function of summed n-gram counts (Papineni et al. 2002), not a mean of sentence scores.
Counting is left to sacrebleu (13a tokens); only its closing formula is repeated here, over whole arrays. ROUGE-L is F1
over rouge-score's tokens (lower-cased [a-z0-9]+, no stemming; Lin 2004) with the common subsequence from rapidfuzz,
equal to rouge-score and measured 80 times faster. Being ASCII-only it is blind to other scripts: there it says 0 for
both models.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rapidfuzz.distance import LCSseq

ORDERS = 4
BLEU_COLUMNS = 2 + 2 * ORDERS
_ROUGE_TOKEN = re.compile(r"[a-z0-9]+")
_LONGEST_PERIOD = 20


def rouge_l(answer: str, reference: str) -> float:
    """F1 of the longest common subsequence of tokens, in [0, 1]; 0 where either text has no token."""
    said, wanted = _ROUGE_TOKEN.findall(answer.lower()), _ROUGE_TOKEN.findall(reference.lower())
    if not said or not wanted:
        return 0.0
    common = LCSseq.similarity(wanted, said)
    precision, recall = common / len(said), common / len(wanted)
    return 2 * precision * recall / (precision + recall) if common else 0.0


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


def count_words(text: str) -> int:
    """Words between white space."""
    return len(text.split())


def is_degenerate(answer: str) -> bool:
    """Whether an answer is empty or caught in a loop (Holtzman et al. 2020, "neural text degeneration").

    A loop is a phrase of up to 20 words said four times or more in a row and filling at least eight words, or, for text
    without spaces, up to 20 characters repeated over at least 120, unless they hold no letter or digit (a ruled line is
    fine).
    """
    words = answer.split()
    if not words:
        return True
    if _find_loop(words, least=8) is not None:
        return True
    compact = "".join(words)
    loop = _find_loop(list(compact), least=120)
    return loop is not None and any(character.isalnum() for character in loop)


def _find_loop(items: Sequence[str], *, least: int, repeats: int = 4) -> Sequence[str] | None:
    """Gives the items of the first run that repeats with some period, or nothing."""
    for period in range(1, min(_LONGEST_PERIOD, len(items) // repeats) + 1):
        needed = max(least, repeats * period) - period
        equal = [first == second for first, second in zip(items, items[period:], strict=False)]
        breaks = [-1, *(index for index, same in enumerate(equal) if not same), len(equal)]
        for before, after in pairwise(breaks):
            if after - before - 1 >= needed:
                return items[before + 1 : before + 1 + period]
    return None
