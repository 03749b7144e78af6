"""How near an answer comes to the text that was wanted: chrF, in [0, 1].

Decides for chrF (Popović 2015, "chrF: character n-gram F-score for automatic MT evaluation": n-grams of 1 to 6
characters, recall weighted twice) as sacrebleu computes it, over ROUGE-L: it needs no words, so that Japanese and Thai
are measured like English, and a changed number or ending costs a little, not a whole word.
"""

from __future__ import annotations

import math
from functools import cache
from typing import Any

MAX_LETTERS = 20_000  # of either text: n-grams are counted in memory


def measure_similarity(answer: str, wanted: str) -> float:
    """chrF of `answer` against `wanted`, 1 where they are alike but for white space; 0 where either is empty."""
    said, expected = answer[:MAX_LETTERS].strip(), wanted[:MAX_LETTERS].strip()
    if not said or not expected:
        return 0.0
    if said.split() == expected.split():
        return 1.0
    score = float(_chrf().sentence_score(said, [expected]).score) / 100
    return score if math.isfinite(score) else 0.0


@cache
def _chrf() -> Any:
    from sacrebleu.metrics.chrf import CHRF

    return CHRF()
