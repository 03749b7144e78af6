"""What the answers' texts say beside the references: BLEU, ROUGE-L, length, degeneration."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from flytewheel.evaluation.asking import Ask, Reply, Weigh
from flytewheel.evaluation.measure import Compare, Heard, Measured, Rows, share
from flytewheel.evaluation.text.bleu import bleu, count_bleu
from flytewheel.evaluation.text.degeneration import is_degenerate
from flytewheel.evaluation.text.rouge import rouge_l


class TextMeasure:
    """Figures of the examples' answers; it asks nothing of its own."""

    name = "text"

    def asks(self) -> Sequence[Ask]:
        return ()

    def weighs(self) -> Sequence[Weigh]:
        return ()

    def measure(self, heard: Heard, compare: Compare) -> Measured:
        examples = heard.examples
        users = [row.user for row in examples.rows]
        references = [row.completion for row in examples.rows]
        words = [count_words(reference) for reference in references]
        both = (examples.candidate, examples.champion)

        def texts(replies: Sequence[Reply]) -> list[str]:
            return [reply.text for reply in replies]

        def each(function: Callable[[str], float]) -> tuple[Any, Any]:
            ours, theirs = ([function(text) for text in texts(replies)] for replies in both)
            return share(ours), share(theirs)

        def overlap(replies: Sequence[Reply]) -> Any:
            return share([rouge_l(said, wanted) for said, wanted in zip(texts(replies), references, strict=True)])

        def spoken(replies: Sequence[Reply]) -> Any:
            return np.stack([[count_words(text) for text in texts(replies)], words], axis=1)

        overlaps = Rows(users, [row.topic for row in examples.rows], *map(overlap, both))
        counts = [count_bleu(texts(replies), references) for replies in both]
        return Measured(
            metrics={
                "rouge_l": overlaps.compare(compare),
                "bleu": compare(users, *counts, statistic=bleu),
                "degenerate_share": compare(users, *each(is_degenerate)),
                "length_ratio": compare(users, *map(spoken, both)),
            },
            rows={"rouge_l": overlaps},
            answers=[
                {
                    "kind": "test",
                    "id": row.id,
                    "user": row.user,
                    "topic": row.topic,
                    "prompt": row.prompt,
                    "candidate": ours.text,
                    "champion": theirs.text,
                    "reference": row.completion,
                }
                for row, ours, theirs in zip(examples.rows, *both, strict=True)
            ],
        )


def count_words(text: str) -> int:
    """Words between white space."""
    return len(text.split())
