"""What an evaluation found, on disk and in words.

`evaluation.json` holds the figures and is written last; a folder without it is not an evaluation. `answers.jsonl` holds
what both models said to each prompt, for people to read.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from flytewheel.errors import EvaluationError
from flytewheel.evaluation.bootstrap import Comparison
from flytewheel.recipe.safety import FORGETTING_FIGURES, SAFETY_FIGURES
from flytewheel.records import Interval, read_jsonl, to_jsonable, write_jsonl

LOWER_IS_BETTER = frozenset(  # of the others more is better, or neither
    {
        "perplexity",
        "first_token_ms",
        "degenerate_share",
        "looping_share",
        "empty_share",
        "unstopped_share",
        "unsupported_share",
        "ungrounded_answers",
        "unsupported_claims_share",
        *SAFETY_FIGURES,
        *FORGETTING_FIGURES,
    }
)
RESULT, ANSWERS = "evaluation.json", "answers.jsonl"


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Candidate against champion on the held-out users.

    `metrics` maps a name to its figures, `counts` to a whole number about the candidate (`None`: cannot be told).
    `details` are what each measure keeps for the report, JSON-like, by the measure's name; `notes` sentences that go
    with the verdict. `skipped` counts questions that were longer than the model's room, by measure. `dataset` is the
    data set's digest. `unchanged`: candidate and champion are the same weights. `candidate` is the digest of the
    weights that were judged (`models.digest_trained`; empty: the bare base).
    """

    metrics: Mapping[str, Comparison]
    counts: Mapping[str, float | None] = field(default_factory=dict)
    details: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    skipped: Mapping[str, int] = field(default_factory=dict)
    champion: Literal["base", "adapter", "full"] = "base"
    dataset: str = ""
    device: str = ""
    seed: int = 0
    unchanged: bool = False
    candidate: str = ""


def write_evaluation(out: Path, evaluation: Evaluation, answers: Iterable[Any]) -> None:
    """Writes both files into `out`, the figures last; each appears whole or not at all."""
    out.mkdir(parents=True, exist_ok=True)
    (out / RESULT).unlink(missing_ok=True)  # an older result beside newer answers would lie
    draft = out / f".{ANSWERS}.part"
    write_jsonl(draft, answers)
    os.replace(draft, out / ANSWERS)
    draft = out / f".{RESULT}.part"
    text = json.dumps(to_jsonable(evaluation), indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False)
    draft.write_text(text + "\n", encoding="utf-8")
    os.replace(draft, out / RESULT)


def read_evaluation(path: Path) -> Evaluation:
    """Reads what `write_evaluation` wrote, from the folder or the file itself.

    Raises:
        EvaluationError: there is none, or it is not one.
    """
    file = path / RESULT if path.is_dir() else path
    try:
        raw = json.loads(file.read_text(encoding="utf-8"))
        metrics = {
            name: Comparison(
                **{side: Interval(**found[side]) for side in ("candidate", "champion", "difference")},
                rows=found["rows"],
                users=found["users"],
                lower_is_better=found.get("lower_is_better", False),
            )
            for name, found in raw.pop("metrics").items()
        }
        return Evaluation(metrics=metrics, notes=tuple(raw.pop("notes")), **raw)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        cause = " ".join(str(error).split())
        raise EvaluationError(f"{file}: expected the result of an evaluation ({cause}); evaluate again") from None


def read_answers(folder: Path) -> list[dict[str, Any]]:
    """What both models said, as `write_evaluation` wrote it beside the figures; none where the file is gone."""
    file = folder / ANSWERS
    return list(read_jsonl(file)) if file.is_file() else []


def is_lower_better(name: str, found: Comparison) -> bool:
    """Whether less of the figure `name` is better."""
    return name in LOWER_IS_BETTER or found.lower_is_better


def tellable(value: float | None) -> float | None:
    """The value, or nothing where it is not finite."""
    return value if value is not None and math.isfinite(value) else None


def describe(evaluation: Evaluation) -> str:
    """The figures as a table of plain text, one metric a line."""
    width = max(28, *(len(name) + 3 for name in evaluation.metrics), 0)
    lines = [f"{'metric':<{width}}{'candidate':<26}{'champion':<26}{'difference':<29}{'rows':>6}{'users':>7}"]
    for name, found in evaluation.metrics.items():
        arrow = "↓" if is_lower_better(name, found) else "↑" if name != "length_ratio" else " "
        cells = (_cell(found.candidate), _cell(found.champion), _cell(found.difference, signed=True))
        lines.append(
            f"{name + ' ' + arrow:<{width}}{cells[0]:<26}{cells[1]:<26}{cells[2]:<29}{found.rows:>6,}{found.users:>7,}"
        )
    return "\n".join(lines)


def _cell(interval: Interval, *, signed: bool = False) -> str:
    if interval.estimate is None or interval.low is None or interval.high is None:
        return "cannot tell"
    sign = "+" if signed else ""
    return f"{interval.estimate:{sign}.3f} [{interval.low:{sign}.3f}, {interval.high:{sign}.3f}]"
