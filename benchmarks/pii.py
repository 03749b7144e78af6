"""Recall and precision on the labelled corpus, type by type, beside Presidio's own recognisers; and CPU time a text.

Three seeds that no rule was written by; the worst of them counts. Presidio's recognisers run directly, without a
language model, each with the entities it declares and at its default threshold. CPU time is that of ordinary text of
some 400 characters (2 % hold a thing, 30 % digits), gated and by the precise rules alone.
"""

from __future__ import annotations

import statistics
import sys
import time
import warnings
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks import Goal, report
from flytewheel.pii import find, redact_conversation, redact_conversations
from tests.pii.pii_corpus import Planted, draw_positives
from tests.pii.pii_negatives import draw_negatives, draw_ordinary

SEEDS = (51_001, 51_002, 51_003)
CPU_US = 25.0  # of 390 characters; 9 measured on 20,000 texts, 19 on --quick's few, for which gates are compiled, too
Labelled = tuple[int, int, str]

# Keys and passwords overlap by nature: a JWT behind "Bearer", a key behind "token=".
_ONE_KIND = {"SECRET": "API_KEY", "JWT": "API_KEY"}
_PRESIDIO: dict[str, tuple[str, ...]] = {
    "EMAIL": ("EmailRecognizer",),
    "CARD": ("CreditCardRecognizer",),
    "IBAN": ("IbanRecognizer",),
    "IP": ("IpRecognizer",),
    "MAC": ("MacAddressRecognizer",),
    "PHONE": ("PhoneRecognizer",),
    "SSN": ("UsSsnRecognizer",),
    "CRYPTO": ("CryptoRecognizer",),
    "NATIONAL_ID": (
        "UkNinoRecognizer", "NhsRecognizer", "EsNifRecognizer", "EsNieRecognizer", "ItFiscalCodeRecognizer",
        "PlPeselRecognizer", "FiPersonalIdentityCodeRecognizer", "SePersonnummerRecognizer", "InAadhaarRecognizer",
        "InPanRecognizer", "AuTfnRecognizer", "CaSinRecognizer", "KrRrnRecognizer", "ThTninRecognizer",
        "TrNationalIdRecognizer", "SgFinRecognizer", "DeTaxIdRecognizer", "DeSocialSecurityRecognizer",
        "ZaIdNumberRecognizer", "PhUmidRecognizer",
    ),
}  # fmt: skip


@dataclass
class _Score:
    """How one finder did on one kind."""

    labelled: int = 0
    hit: int = 0
    false: int = 0

    @property
    def recall(self) -> float:
        return self.hit / max(1, self.labelled)

    @property
    def precision(self) -> float:
        return self.hit / max(1, self.hit + self.false)


def measure(quick: bool) -> list[Goal]:
    """Both finders over every seed, the worst figure of each kind, and the CPU time."""
    count = 60 if quick else 300
    timed = measure_time(10_000 if quick else 30_000)  # before Presidio's objects burden the collector
    ours: dict[str, list[_Score]] = defaultdict(list)
    theirs: dict[str, list[_Score]] = defaultdict(list)
    presidio = open_presidio()
    for seed in SEEDS[: 1 if quick else 3]:
        corpus = draw_positives(seed, count) + draw_negatives(seed, 6 * count)
        for scores, finder in ((ours, find), (theirs, presidio)):
            for kind, score in judge(corpus, finder).items():
                scores[kind].append(score)
        print(f"seed {seed}: {len(corpus)} sentences")
    goals = []
    print(f"{'kind':<14}{'recall':>8}{'precision':>11}{'Presidio: recall':>19}{'precision':>11}   (worst seed)")
    for kind, mine in ours.items():
        recall, precision = min(one.recall for one in mine), min(one.precision for one in mine)
        goals += [
            Goal(f"{kind} recall", recall, 0.95, at_most=False),
            Goal(f"{kind} precision", precision, 0.95, at_most=False),
        ]
        row = f"{kind:<14}{recall:>8.3f}{precision:>11.3f}"
        if kind not in _PRESIDIO:
            print(f"{row}{'no recogniser':>19}")
            continue
        their_recall = min(one.recall for one in theirs[kind])
        their_precision = min(one.precision for one in theirs[kind])
        print(f"{row}{their_recall:>19.3f}{their_precision:>11.3f}")
        behind = max(
            0.0,
            *(b.recall - a.recall for a, b in zip(mine, theirs[kind], strict=True)),
            *(b.precision - a.precision for a, b in zip(mine, theirs[kind], strict=True)),
        )
        goals.append(Goal(f"{kind} behind Presidio in recall or precision", behind, 0.0))
    return [*goals, *timed]


def judge(corpus: Sequence[Planted], finder: Callable[[str], list[Labelled]]) -> dict[str, _Score]:
    """A thing is hit when one find of its kind covers all of it; a find that touches no thing of its kind is false."""
    scores: dict[str, _Score] = defaultdict(_Score)
    for one in corpus:
        spans = [(start, end, _ONE_KIND.get(kind, kind)) for start, end, kind in finder(one.sentence)]
        first = one.sentence.index(one.value) if one.kind else -1
        last = first + len(one.value)
        wanted = _ONE_KIND.get(one.kind, one.kind)
        if one.kind:
            scores[one.kind].labelled += 1
            scores[one.kind].hit += any(start <= first and last <= end and kind == wanted for start, end, kind in spans)
        false = Counter(
            kind for start, end, kind in spans if not (one.kind and start < last and first < end and kind == wanted)
        )
        for kind, times in false.items():
            scores[kind].false += times
    return {kind: score for kind, score in scores.items() if score.labelled}


def open_presidio() -> Callable[[str], list[Labelled]]:
    """Presidio's pattern recognisers, one find for characters that several claim with the same kind."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from presidio_analyzer import predefined_recognizers as predefined
    recognizers: list[tuple[str, Any]] = [
        (kind, getattr(predefined, name)()) for kind, names in _PRESIDIO.items() for name in names
    ]

    def analyse(text: str) -> list[Labelled]:
        spans: list[Labelled] = []
        for kind, recognizer in recognizers:
            for result in recognizer.analyze(text, recognizer.supported_entities, None) or []:
                if not any(start < result.end and result.start < end and kind == other for start, end, other in spans):
                    spans.append((result.start, result.end, kind))
        return spans

    return analyse


def measure_time(count: int) -> list[Goal]:
    """CPU microseconds a text: in a batch, and by the precise rules alone."""
    texts = draw_ordinary(SEEDS[0], count)
    redact_conversations([[text] for text in texts[:1_000]])
    conversations = [[text] for text in texts]
    runs = []
    for _ in range(3):
        begun = time.process_time()
        batch = redact_conversations(conversations)
        runs.append((time.process_time() - begun) / count * 1e6)
    batch_us = statistics.median(runs)
    some = texts[: max(1, count // 10)]
    begun = time.process_time()
    alone = [redact_conversation([text]) for text in some]
    alone_us = (time.process_time() - begun) / len(some) * 1e6
    print(
        f"{sum(map(len, texts)) / count:.0f} characters a text: {batch_us:.1f} µs gated, {alone_us:.1f} µs rules alone"
    )
    return [
        Goal("CPU µs a text, gated", batch_us, CPU_US),
        Goal("texts on which gate and rules differ", float(sum(a != b for a, b in zip(alone, batch, strict=False))), 0),
    ]


if __name__ == "__main__":
    sys.exit(report(measure, __doc__.splitlines()[0]))
