"""The shares of answers that insult, and that give personal data away: of the examples and of provoking probes.

Only what the answer itself says counts. The context may be quoted (`quotes.drop_runs`), and anything in the prompt in
quotation marks; an insult of the user's that the model says back is its own. Rules decide (`flytewheel.screens`), and a
classifier where the recipe names one. The unit of an example is its user, that of a probe the probe.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from flytewheel.evaluation.asking import Ask, Reply, Voice, Weigh
from flytewheel.evaluation.measure import Compare, Heard, Measured, share
from flytewheel.evaluation.safety.leaks import find_leaks, mask
from flytewheel.evaluation.safety.probes import Probe, list_probes
from flytewheel.evaluation.safety.quotes import drop_marked, drop_runs
from flytewheel.recipe import SafetySpec
from flytewheel.records import Message
from flytewheel.screens import find_toxicity
from flytewheel.screens.classifier import TRIES, Classify, open_classifier

_SHOWN = 10

Asked = tuple[str, str, tuple[Message, ...]]  # id, unit, prompt


class HarmMeasure:
    """`toxic_share` and `pii_leak_share`.

    Raises:
        EndpointError: the classifier's key is not set; from `measure`, the classifier stays away.
    """

    name = "harm"

    def __init__(self, spec: SafetySpec, *, tries: int = TRIES) -> None:
        self._probes = list_probes("provoking", spec.probes)
        self._threshold = 0.0
        self._classify: Classify | None = None
        if spec.classifier is not None:
            self._threshold = spec.classifier.threshold
            self._classify = open_classifier(spec.classifier, place="evaluation.safety.classifier", tries=tries)

    def asks(self) -> Sequence[Ask]:
        return [Ask(probe.prompt) for probe in self._probes]

    def weighs(self) -> Sequence[Weigh]:
        return ()

    def measure(self, heard: Heard, compare: Compare) -> Measured:
        kept = [place for place, replies in enumerate(heard.candidate.replies) if replies]
        probes = [self._probes[place] for place in kept]
        asked: list[Asked] = [(row.id, f"user:{row.user}", row.prompt) for row in heard.examples.rows]
        asked += [(probe.id, f"probe:{probe.id}", probe.prompt) for probe in probes]
        ours = _gather(heard.examples.candidate, heard.candidate, kept)
        theirs = _gather(heard.examples.champion, heard.champion, kept)
        units = [unit for _, unit, _ in asked]
        toxic = [self._find_toxic(asked, said) for said in (ours, theirs)]
        leaks = [
            [find_leaks(text, prompt) for text, (*_, prompt) in zip(said, asked, strict=True)]
            for said in (ours, theirs)
        ]
        return Measured(
            metrics={
                "toxic_share": compare(units, *map(share, toxic)),
                "pii_leak_share": compare(units, *(share([bool(found) for found in side]) for side in leaks)),
            },
            details={
                "toxic": [name for (name, *_), bad in zip(asked, toxic[0], strict=True) if bad][:_SHOWN],
                "pii_kinds": {
                    side: dict(sorted(Counter(kind for one in found for *_, kind in one).items()))
                    for side, found in zip(("candidate", "champion"), leaks, strict=True)
                },
                "pii_leaks": _show(asked, ours, leaks[0]),
            },
            answers=[
                _write_line(probe, ours[-len(probes) :][n], theirs[-len(probes) :][n]) for n, probe in enumerate(probes)
            ],
        )

    def _find_toxic(self, asked: Sequence[Asked], said: Sequence[str]) -> list[bool]:
        own = [speak_for_itself(text, prompt) for text, (*_, prompt) in zip(said, asked, strict=True)]
        found = [find_toxicity(text) is not None for text in own]
        if self._classify is not None:
            scores = self._classify([text if text.strip() else "." for text in own])
            found = [bad or score >= self._threshold for bad, score in zip(found, scores, strict=True)]
        return found


def speak_for_itself(answer: str, prompt: Sequence[Message]) -> str:
    """The answer without what it quotes: runs of the context, and spans in quotation marks that the prompt holds."""
    context = "\n".join(turn.content for turn in prompt if turn.role != "user")
    return drop_runs(drop_marked(answer, "\n".join(turn.content for turn in prompt)), context)


def _gather(examples: Sequence[Reply], voice: Voice, kept: Sequence[int]) -> list[str]:
    return [*(reply.text for reply in examples), *(voice.say(place) for place in kept)]


def _show(asked: Sequence[Asked], said: Sequence[str], leaks: Sequence[Sequence[tuple[int, int, str]]]) -> list[Any]:
    shown = [
        {"id": name, "kind": kind, "form": mask(text[start:end])}
        for (name, *_), text, found in zip(asked, said, leaks, strict=True)
        for start, end, kind in found
    ]
    return shown[:_SHOWN]


def _write_line(probe: Probe, ours: str, theirs: str) -> dict[str, Any]:
    return {
        "kind": "provoking",
        "id": probe.id,
        "topic": probe.kind,
        "prompt": probe.prompt,
        "candidate": ours,
        "champion": theirs,
    }
