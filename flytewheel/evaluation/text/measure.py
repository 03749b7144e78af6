"""What the answers' texts say beside the references: ROUGE, BLEU, chrF, diversity, length, and how many degenerated."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from flytewheel.evaluation.asking import Ask, Reply, Weigh
from flytewheel.evaluation.bootstrap import Comparison
from flytewheel.evaluation.measure import Compare, Examples, Heard, Measured, Rows, share
from flytewheel.evaluation.text.bleu import bleu, count_bleu
from flytewheel.evaluation.text.chrf import chrf, count_chrf
from flytewheel.evaluation.text.degeneration import Degeneration, examine
from flytewheel.evaluation.text.distinct import share_distinct
from flytewheel.evaluation.text.rouge import F1, ROUGE, score_rouge
from flytewheel.evaluation.text.words import count_words

_NAMED = 5  # row ids that are shown of each cause


class TextMeasure:
    """Figures of the examples' answers; it asks nothing of its own."""

    name = "text"

    def __init__(self, max_new_tokens: int) -> None:
        self._max_new_tokens = max_new_tokens

    def asks(self) -> Sequence[Ask]:
        return ()

    def weighs(self) -> Sequence[Weigh]:
        return ()

    def measure(self, heard: Heard, compare: Compare) -> Measured:
        examples = heard.examples
        users = [row.user for row in examples.rows]
        references = [row.completion for row in examples.rows]
        both = examples.candidate, examples.champion
        texts = [[reply.text for reply in replies] for replies in both]
        words = [count_words(reference) for reference in references]

        def each(figures: Callable[[list[str]], Any], **options: Any) -> Comparison:
            return compare(users, *map(figures, texts), **options)

        def spoken(said: list[str]) -> Any:
            return np.array([[count_words(text) for text in said], words]).T

        beyond = sum(length >= self._max_new_tokens for length in examples.reference_tokens)
        rouge = [score_rouge(said, references) for said in texts]
        found = [self._examine(examples, replies) for replies in both]
        ours, theirs = (share(scores[:, -1, F1]) for scores in rouge)
        overlaps = Rows(users, [row.topic for row in examples.rows], ours, theirs)
        return Measured(
            rows={"rouge_l": overlaps},
            metrics={
                **{
                    name: compare(users, *(share(scores[:, place, F1]) for scores in rouge))
                    for place, name in enumerate(ROUGE)
                },
                "bleu": each(lambda said: count_bleu(said, references), statistic=bleu),
                "chrf": each(lambda said: count_chrf(said, references), statistic=chrf),
                "distinct_1": each(lambda said: share_distinct(said, 1)),
                "distinct_2": each(lambda said: share_distinct(said, 2)),
                "length_ratio": each(spoken),
                "degenerate_share": compare(users, *(share([one.any for one in side]) for side in found)),
                "looping_share": compare(users, *(share([one.looping for one in side]) for side in found)),
                "empty_share": compare(users, *(share([one.empty for one in side]) for side in found)),
                "unstopped_share": _compare_unstopped(users, found[0], found[1], compare),
            },
            details={
                "degenerate": {
                    name: _name_causes(examples, side)
                    for name, side in zip(("candidate", "champion"), found, strict=True)
                },
                "references_beyond_limit": beyond,
            },
            notes=(
                f"whether answers stop cannot be told of {beyond} of {len(references)} examples, whose reference is "
                f"{self._max_new_tokens} tokens or longer; raise evaluation.max_new_tokens",
            )
            if 2 * beyond > len(references)
            else (),
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

    def _examine(self, examples: Examples, replies: Sequence[Reply]) -> list[Degeneration]:
        lengths: Sequence[int | None] = examples.reference_tokens or (None,) * len(replies)
        return [
            examine(reply, row.completion, row.prompt, reference_tokens=length, max_new_tokens=self._max_new_tokens)
            for row, reply, length in zip(examples.rows, replies, lengths, strict=True)
        ]


def _compare_unstopped(
    users: Sequence[str], ours: Sequence[Degeneration], theirs: Sequence[Degeneration], compare: Compare
) -> Comparison:
    """Over the rows of which it can be told for both models; the others count for neither."""
    told = [
        (user, bool(one.unstopped), bool(other.unstopped))
        for user, one, other in zip(users, ours, theirs, strict=True)
        if one.unstopped is not None and other.unstopped is not None
    ]
    return compare([user for user, *_ in told], share([one for _, one, _ in told]), share([two for *_, two in told]))


def _name_causes(examples: Examples, found: Sequence[Degeneration]) -> dict[str, Any]:
    """How many answers each cause has, and the first rows."""
    causes = {}
    for cause in ("empty", "looping", "unstopped"):
        ids = [row.id for row, one in zip(examples.rows, found, strict=True) if getattr(one, cause)]
        causes[cause] = {"count": len(ids), "rows": ids[:_NAMED]}
    return causes
