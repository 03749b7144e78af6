"""How much of the answers their context does not hold: by form (`support`), and by a model's reading (`claims`).

Only examples whose prompt has a context count. `unsupported_share` weighs by spans: an answer that says little weighs
little; `ungrounded_answers` by answers, those without a span too. Precision and recall of the detector are measured in
`benchmarks/groundedness.py`; both models are read by the same one, so that its slips hardly move the difference.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flytewheel.evaluation.asking import Ask, Weigh
from flytewheel.evaluation.bootstrap import Comparison
from flytewheel.evaluation.groundedness.claims import ClaimReader, Reading
from flytewheel.evaluation.groundedness.spans import KINDS, Span
from flytewheel.evaluation.groundedness.support import Checked, Context, check
from flytewheel.evaluation.measure import Compare, Heard, Measured, share
from flytewheel.recipe import GroundednessSpec
from flytewheel.records import Message, SftRow

CONTEXT = "Context:\n"


@dataclass(frozen=True, slots=True)
class _Row:
    """One example with a context: what both models said, and what was found in it."""

    row: SftRow
    context: tuple[str, ...]
    answers: tuple[str, str]
    checked: tuple[Checked, Checked]


class GroundednessMeasure:
    """Figures of the examples' answers; it asks nothing of its own of the models.

    Args:
        spec: what is checked.
        cache: folder of an endpoint's kept readings.

    Raises:
        EndpointError: the key of the endpoint is not set.
    """

    name = "groundedness"

    def __init__(self, spec: GroundednessSpec, cache: Path | None = None, reader: ClaimReader | None = None) -> None:
        self._spec = spec
        self._reader = reader
        if reader is None and spec.endpoint is not None:
            self._reader = ClaimReader(spec.endpoint, cache=cache)

    def asks(self) -> Sequence[Ask]:
        return ()

    def weighs(self) -> Sequence[Weigh]:
        return ()

    def measure(self, heard: Heard, compare: Compare) -> Measured:
        """Raises `EndpointError` where the endpoint is away after all attempts, or refuses."""
        rows = list(_read_rows(heard))
        if not rows:
            return Measured()
        users = [row.row.user for row in rows]
        both = [[row.checked[side] for row in rows] for side in (0, 1)]
        metrics = {
            "unsupported_share": compare(users, *map(_count_spans, both)),
            "ungrounded_answers": compare(users, *(share([bool(one.unsupported) for one in side]) for side in both)),
        }
        claims, told, notes = self._read_claims(rows, compare)
        details = {
            "rows": len(rows),
            "without_context": len(heard.examples.rows) - len(rows),
            "by_kind": {name: _count_kinds(side) for name, side in zip(("candidate", "champion"), both, strict=True)},
            "worst": [_describe(row) for row in _choose_worst(rows, self._spec.shown)],
            **told,
        }
        return Measured(metrics={**metrics, **claims}, details=details, notes=notes)

    def _read_claims(
        self, rows: Sequence[_Row], compare: Compare
    ) -> tuple[Mapping[str, Comparison], Mapping[str, Any], tuple[str, ...]]:
        """The figure of claims, details and notes; nothing where no model is asked."""
        if self._reader is None:
            return {}, {}, ()
        rows = rows[: self._spec.max_answers]
        found = self._reader.read([(row.context, row.answers[side]) for side in (0, 1) for row in rows])
        pairs = list(zip(found[: len(rows)], found[len(rows) :], strict=True))
        readable = sum(reading is not None for reading in found)
        told = {"claims": {"answers": len(found), "readable": readable, "by_verdict": _count_verdicts(found)}}
        if readable < self._spec.min_readable * len(found):
            note = (
                f"unsupported_claims_share abstains: {readable} of {len(found)} replies of the groundedness endpoint "
                f"were readings, {self._spec.min_readable:.0%} are needed"
            )
            return {}, told, (note,)
        users, ours, theirs = [], [], []
        for row, (one, other) in zip(rows, pairs, strict=True):
            if one is not None and other is not None:
                users.append(row.row.user)
                ours.append(_count_claims(one))
                theirs.append(_count_claims(other))
        shaped = [np.asarray(column, dtype=np.float64).reshape(-1, 2) for column in (ours, theirs)]
        return {"unsupported_claims_share": compare(users, *shaped)}, told, ()


def find_context(prompt: Sequence[Message]) -> tuple[str, ...] | None:
    """What an answer may rest on: the system turn and all that the user said; `None` where no turn holds a context."""
    systems = [turn.content for turn in prompt if turn.role == "system"]
    if not any(text.startswith(CONTEXT) or f"\n{CONTEXT}" in text for text in systems):
        return None
    return (*systems, *(turn.content for turn in prompt if turn.role == "user"))


def _read_rows(heard: Heard) -> Sequence[_Row]:
    examples = heard.examples
    rows = []
    for row, ours, theirs in zip(examples.rows, examples.candidate, examples.champion, strict=True):
        if (texts := find_context(row.prompt)) is not None:
            context = Context(texts)
            checked = check(ours.text, context), check(theirs.text, context)
            rows.append(_Row(row, texts, (ours.text, theirs.text), checked))
    return rows


def _count_spans(side: Sequence[Checked]) -> NDArray[np.float64]:
    """(rows, 2): unsupported spans, and all."""
    return np.array([(len(one.unsupported), len(one.spans)) for one in side], dtype=np.float64)


def _count_kinds(side: Sequence[Checked]) -> dict[str, dict[str, int]]:
    spans = Counter(span.kind for one in side for span in one.spans)
    unsupported = Counter(span.kind for one in side for span in one.unsupported)
    return {kind: {"spans": spans[kind], "unsupported": unsupported[kind]} for kind in KINDS}


def _choose_worst(rows: Sequence[_Row], count: int) -> list[_Row]:
    """The candidate's answers with most unsupported spans; among equals those where the champion had fewer."""
    bad = [row for row in rows if row.checked[0].unsupported]
    return sorted(bad, key=lambda row: (-len(row.checked[0].unsupported), len(row.checked[1].unsupported), row.row.id))[
        :count
    ]


def _describe(row: _Row) -> dict[str, Any]:
    return {
        "id": row.row.id,
        "topic": row.row.topic,
        "context": list(row.context),
        "candidate": row.answers[0],
        "champion": row.answers[1],
        "candidate_unsupported": [_place(span) for span in row.checked[0].unsupported],
        "champion_unsupported": [_place(span) for span in row.checked[1].unsupported],
    }


def _place(span: Span) -> dict[str, Any]:
    return {"kind": span.kind, "start": span.start, "end": span.end, "text": span.text}


def _count_claims(reading: Reading) -> tuple[int, int]:
    return reading.unsupported, len(reading.claims)


def _count_verdicts(found: Sequence[Reading | None]) -> dict[str, int]:
    return dict(sorted(Counter(claim.verdict for reading in found if reading for claim in reading.claims).items()))
