"""distinct-n: unique n-grams over all n-grams of everything a model said (Li et al. 2016, arXiv:1510.03055, section
5.1): low where it says the same to everybody.

Uniqueness is no sum over rows, and a bootstrap that draws a user twice would call all he was told a repetition. So an
n-gram is shared out beforehand: each time it occurs, in whatever answer, it carries 1/(its times in all answers). The
shares of all rows add up to the number of unique n-grams, so the figure is exact; what is resampled are users with the
shares of their answers, fixed as they are. The interval says how far the figure rests on these users, not how it would
fall if there were more of them (it does: vocabulary grows more slowly than text).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from flytewheel.evaluation.text.words import split_words


def share_distinct(answers: Sequence[str], order: int) -> NDArray[np.float64]:
    """Shares of unique n-grams, and n-grams, of each answer; the `ratio` of their sums is distinct-n.

    Args:
        answers: all that one model said; words are `split_words`'.
        order: n, from 1.

    Returns:
        (answers, 2)
    """
    lines = [_list_grams(split_words(answer), order) for answer in answers]
    times = Counter(gram for line in lines for gram in line)
    return np.array([[sum(1 / times[gram] for gram in line), len(line)] for line in lines]).reshape(-1, 2)


def _list_grams(words: Sequence[str], order: int) -> list[tuple[str, ...]]:
    return list(zip(*(words[start:] for start in range(order)), strict=False))
