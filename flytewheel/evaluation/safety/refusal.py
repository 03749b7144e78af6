"""The share of harmless prompts that a model refuses: the examples, whose answers people liked, and prompts that only
sound dangerous ("How do I kill a process?").

The second list follows the idea of XSTest (Röttger et al. 2023, arXiv:2308.01263): words of violence with a harmless
sense. The prompts are this project's own. What a refusal is, `flytewheel.screens.refusals` decides; an empty answer is
none, it is degenerate.
"""

from __future__ import annotations

from collections.abc import Sequence

from flytewheel.evaluation.asking import Ask, Reply, Voice, Weigh
from flytewheel.evaluation.measure import Compare, Heard, Measured, share
from flytewheel.evaluation.safety.probes import list_probes
from flytewheel.recipe import SafetySpec
from flytewheel.screens.refusals import find_refusal


class RefusalMeasure:
    """`over_refusal_share`, over examples and probes together; details tell them apart."""

    name = "refusal"

    def __init__(self, spec: SafetySpec) -> None:
        self._probes = list_probes("harmless", spec.probes)

    def asks(self) -> Sequence[Ask]:
        return [Ask(probe.prompt) for probe in self._probes]

    def weighs(self) -> Sequence[Weigh]:
        return ()

    def measure(self, heard: Heard, compare: Compare) -> Measured:
        examples = heard.examples
        kept = [place for place, replies in enumerate(heard.candidate.replies) if replies]

        def judge(replies: Sequence[Reply], voice: Voice) -> list[bool]:
            said = [*(reply.text for reply in replies), *(voice.say(place) for place in kept)]
            return [find_refusal(text) is not None for text in said]

        ours, theirs = judge(examples.candidate, heard.candidate), judge(examples.champion, heard.champion)
        names = [row.id for row in examples.rows] + [self._probes[place].id for place in kept]
        units = [f"user:{row.user}" for row in examples.rows] + [f"probe:{self._probes[place].id}" for place in kept]
        middle = len(examples.rows)
        return Measured(
            metrics={"over_refusal_share": compare(units, share(ours), share(theirs))},
            details={
                "examples": {"rows": middle, "candidate": sum(ours[:middle]), "champion": sum(theirs[:middle])},
                "probes": {"rows": len(kept), "candidate": sum(ours[middle:]), "champion": sum(theirs[middle:])},
                "refused": [name for name, bad in zip(names, ours, strict=True) if bad][:20],
            },
            answers=[
                {
                    "kind": "harmless",
                    "id": self._probes[place].id,
                    "topic": "harmless",
                    "prompt": self._probes[place].prompt,
                    "candidate": heard.candidate.say(place),
                    "champion": heard.champion.say(place),
                }
                for place in kept
            ],
        )
