"""What a training station leaves beside its adapter: `report.json`, one frozen record with the whole curve."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from flytewheel.errors import CheckpointError
from flytewheel.records import to_jsonable

Method = Literal["sft", "dpo", "kto", "skipped"]


@dataclass(frozen=True, slots=True)
class TrainingReport:
    """How a training went.

    `rows` were trained on, once an epoch; `truncated_rows` did not fit into `base.max_length` tokens: SFT cuts their
    end (and leaves out those whose prompt alone fills it), alignment drops them. Losses are means over the logged
    steps, in nats a token for SFT; `curve` holds one mapping a logged step with `step` and what was measured. `seconds`
    is the wall time of the attempt that finished, `resumed_from_step` the step that it began at (0: from the start).
    In `redacted_rows` personal data was found that curation had left. `reason` says in words why this method, or why
    none. `adapter_digest` covers the published adapter's files; `None`: there is no adapter. `base` is the content of
    the base model (`models.base_digest`: a hub model's commit, a folder's digest); empty: not known.

    `truncated_tokens` were lost with `truncated_rows`; `truncation` says so in one line with the next step, empty where
    all rows fit. `batches` are the figures of one epoch (`batches.BatchFigures`);
    `None`: not known. `batching` says in words what packing changed of the recipe; empty: nothing.
    """

    method: Method
    reason: str
    rows: int
    steps: int
    first_loss: float | None
    last_loss: float | None
    eval_loss: float | None
    curve: tuple[dict[str, float], ...]
    device: str
    seconds: float
    resumed_from_step: int
    truncated_rows: int
    adapter_digest: str | None
    redacted_rows: int = 0
    base: str = ""
    truncated_tokens: int = 0
    truncation: str = ""
    batches: dict[str, int] | None = None
    batching: str = ""


def write_report(path: Path, report: TrainingReport) -> None:
    """Writes `report` as JSON to the file `path`."""
    path.write_text(json.dumps(to_jsonable(report), indent=1, sort_keys=True) + "\n", encoding="utf-8")


def read_report(path: Path) -> TrainingReport:
    """Reads a report written by `write_report`.

    Raises:
        CheckpointError: the file is missing or is not a training report.
    """
    try:
        raw: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return TrainingReport(**{**raw, "curve": tuple(raw["curve"])})
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"{path}: expected a training report ({error}); train again") from None
