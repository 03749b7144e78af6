"""How much of what the bare base could do a candidate has lost.

Only cases that the base passes count: what it never could is not forgotten. Each is a unit of its own. With fewer than
`min_cases` of them the share is unknown. Beside it stands a figure that every base gives: the perplexity of general
texts under the model, divided by that under the base (1 for the base itself; exp of the mean difference of nats a
token). A low one is no proof: texts can stay likely while tasks are lost.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

from flytewheel.evaluation.asking import Ask, Voice, Weigh
from flytewheel.evaluation.bootstrap import Comparison, exponential_ratio
from flytewheel.evaluation.forgetting.cases import read_texts
from flytewheel.evaluation.measure import Compare, Heard, Measured, share
from flytewheel.records import RegressionCase
from flytewheel.suite.checks import passes

_NAMED = 20


class ForgettingMeasure:
    """`forgetting_share` and `general_perplexity_ratio`."""

    name = "forgetting"

    def __init__(self, cases: Sequence[RegressionCase], min_cases: int) -> None:
        self._cases = cases
        self._least = min_cases
        self._texts = read_texts()

    def asks(self) -> Sequence[Ask]:
        return [Ask(case.prompt, of_base=True) for case in self._cases]

    def weighs(self) -> Sequence[Weigh]:
        return [Weigh(prompt, text, of_base=True) for _, prompt, text in self._texts]

    def measure(self, heard: Heard, compare: Compare) -> Measured:
        bare, ours, theirs = (self._check(voice) for voice in (heard.base, heard.candidate, heard.champion))
        known = [place for place, passed in enumerate(bare) if passed]
        counted = known if len(known) >= self._least else []
        units = [self._cases[place].id for place in counted]
        lost = [place for place in known if not ours[place]]
        sides = ([not side[place] for place in counted] for side in (ours, theirs))
        notes: tuple[str, ...] = ()
        if not counted:
            notes = (
                f"cannot tell: forgetting_share is unknown, the bare base passes {len(known)} of {len(self._cases)} "
                f"general cases and it takes {self._least}",
            )
        return Measured(
            metrics={
                "forgetting_share": compare(units, *map(share, sides)),
                "general_perplexity_ratio": self._compare_texts(heard, compare),
            },
            details={
                "cases": len(self._cases),
                "base_passes": len(known),
                "forgotten": [self._cases[place].id for place in lost][:_NAMED],
                "forgotten_by_topic": dict(sorted(Counter(self._cases[place].topic for place in lost).items())),
            },
            notes=notes,
            answers=[
                {
                    "kind": "general",
                    "id": self._cases[place].id,
                    "topic": self._cases[place].topic,
                    "prompt": self._cases[place].prompt,
                    "candidate": heard.candidate.say(place),
                    "champion": heard.champion.say(place),
                    "check": self._cases[place].check,
                    "expected": self._cases[place].expected,
                    "candidate_passes": ours[place],
                    "champion_passes": theirs[place],
                }
                for place in known
            ],
        )

    def _check(self, voice: Voice) -> list[bool]:
        return [
            bool(replies) and passes(case, replies[0].text)
            for case, replies in zip(self._cases, voice.replies, strict=True)
        ]

    def _compare_texts(self, heard: Heard, compare: Compare) -> Comparison:
        ids: list[str] = []
        excess: tuple[list[list[float]], list[list[float]]] = ([], [])  # nats above the base's, and tokens
        sides = (heard.candidate.scores, heard.champion.scores, heard.base.scores)
        for (name, *_), ours, theirs, bare in zip(self._texts, *sides, strict=True):
            if ours is None or theirs is None or bare is None:
                continue
            ids.append(name)
            for column, score in zip(excess, (ours, theirs), strict=True):
                column.append([bare.logprob_nats - score.logprob_nats, bare.tokens])
        columns = (np.array(column, dtype=np.float64).reshape(-1, 2) for column in excess)
        return compare(ids, *columns, statistic=exponential_ratio)
