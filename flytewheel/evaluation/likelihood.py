"""What the models themselves hold for likely: perplexity of held-out answers, and which of two answers they prefer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from flytewheel.dataset import Dataset
from flytewheel.evaluation.asking import Ask, Voice, Weigh
from flytewheel.evaluation.bootstrap import Statistic, exponential_ratio, ratio
from flytewheel.evaluation.choice import choose
from flytewheel.evaluation.measure import Compare, Heard, Measured, Rows, share
from flytewheel.evaluation.perplexity import Score
from flytewheel.evaluation.preference import prefer_by_likelihood, prefer_by_reward
from flytewheel.recipe import EvaluationSpec
from flytewheel.records import Preference, SftRow


class LikelihoodMeasure:
    """Perplexity of the test rows' completions and preference accuracy on the test pairs; nothing is generated."""

    name = "likelihood"

    def __init__(self, data: Dataset, evaluation: EvaluationSpec, seed: int) -> None:
        self._rows = choose(data.sft("test"), evaluation.max_scored_rows, seed)
        self._pairs = choose(data.preferences("test"), evaluation.max_scored_rows, seed)

    def asks(self) -> Sequence[Ask]:
        return ()

    def weighs(self) -> Sequence[Weigh]:
        return [
            *(Weigh(row.prompt, row.completion) for row in self._rows),
            *(Weigh(pair.prompt, pair.chosen, of_base=True) for pair in self._pairs),
            *(Weigh(pair.prompt, pair.rejected, of_base=True) for pair in self._pairs),
        ]

    def measure(self, heard: Heard, compare: Compare) -> Measured:
        middle, end = len(self._rows), len(self._rows) + len(self._pairs)
        kept = [index for index in range(middle) if heard.candidate.scores[index] is not None]
        both = [
            index
            for index in range(len(self._pairs))
            if None not in (heard.candidate.scores[middle + index], heard.candidate.scores[end + index])
        ]
        scored = [self._rows[index] for index in kept]
        paired = [self._pairs[index] for index in both]

        def take(voice: Voice, first: int, places: Sequence[int]) -> list[Score]:
            return [score for place in places if (score := voice.scores[first + place]) is not None]

        def nats(voice: Voice) -> Any:
            return np.array([[-one.logprob_nats, one.tokens] for one in take(voice, 0, kept)]).reshape(-1, 2)

        def likelier(voice: Voice) -> Any:
            return share(prefer_by_likelihood(take(voice, middle, both), take(voice, end, both)))

        def rewarded(voice: Voice) -> Any:
            if voice is heard.base:  # its reward against itself is zero on every pair: no figure
                return share(np.full(len(paired), np.nan))
            chosen, rejected = (take(voice, first, both) for first in (middle, end))
            base_chosen, base_rejected = (take(heard.base, first, both) for first in (middle, end))
            return share(prefer_by_reward(chosen, rejected, base_chosen, base_rejected))

        sides = (heard.candidate, heard.champion)
        rows = {
            "perplexity": _lay_out(scored, nats, sides, exponential_ratio),
            "preference_accuracy": _lay_out(paired, likelier, sides),
        }
        metrics = {name: each.compare(compare) for name, each in rows.items()}
        metrics["implicit_reward_accuracy"] = _lay_out(paired, rewarded, sides).compare(compare)
        return Measured(metrics, rows=rows)


def _lay_out(
    of: Sequence[SftRow] | Sequence[Preference],
    figures: Callable[[Voice], Any],
    sides: tuple[Voice, Voice],
    statistic: Statistic = ratio,
) -> Rows:
    ours, theirs = map(figures, sides)
    return Rows([row.user for row in of], [row.topic for row in of], ours, theirs, statistic=statistic)
