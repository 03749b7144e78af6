"""What a training station leaves beside its adapter: `report.json`, one frozen record with the whole curve."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from flytewheel.errors import CheckpointError
from flytewheel.records import to_jsonable

Method = Literal["sft", "reward", "dpo", "kto", "orpo", "grpo", "skipped"]


@dataclass(frozen=True, slots=True)
class TrainingReport:
    """How a training went.

    `rows` were trained on, once an epoch; `truncated_rows` did not fit into `base.max_length` tokens: SFT cuts their
    end (and leaves out those whose prompt alone fills it), alignment drops them. Losses are means over the logged
    steps, in nats a token for SFT; `curve` holds one mapping a logged step with `step` and what was measured. `seconds`
    is the wall time of the attempt that finished, `resumed_from_step` the step that it began at (0: from the start).
    In `redacted_rows` personal data was found that curation had left. `reason` says in words why this method, or why
    none. `adapter_digest` covers the published adapter's files; `None`: there is no adapter. `base` is the content of
    the base model (`models.base_digest`: a hub model's commit, a folder's digest); empty: not known. Of the
    `reference_answers` whose log-probability under the reference policy was needed, `reference_computed` were not in
    the cache yet, and `reference_discarded` broken files of it were thrown away.

    `truncated_tokens` were lost with `truncated_rows`; `truncation` says so in one line with the next step, empty where
    all rows fit. `batches` are the figures of one epoch (`batches.BatchFigures`);
    `None`: not known. `batching` says in words what packing changed of the recipe; empty: nothing.

    `micro_batch` rows went through the model at once, 0: not known. `stopped` says where the recipe's budget ended the
    training before its last step, empty: it did not. `fitted` says what was done so that memory sufficed.
    `total_seconds` is the wall time of all attempts.

    `tokens` and the five after it are the figures of `meter` over the whole training (memory: over the last attempt);
    `None`: not measured. Their names differ from those of the curve, whose last point would otherwise stand for them in
    wandb's summary. `held_out` is what the trained weights showed on rows kept apart, where a method measures more than
    a loss (`pair_quality` for `reward`, `grpo` for `grpo`).

    A training that may be taken back (`takeback`) was measured at its start, `start_loss`, and `eval_loss` is that of
    the published step; `taken_back`: nothing of it is published, the adapter is the one that it started from.
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
    reference_answers: int = 0
    reference_computed: int = 0
    reference_discarded: int = 0
    truncated_tokens: int = 0
    truncation: str = ""
    batches: dict[str, int] | None = None
    batching: str = ""
    micro_batch: int = 0
    stopped: str = ""
    fitted: tuple[str, ...] = ()
    total_seconds: float = 0.0
    tokens: int | None = None
    mean_tokens_per_s: float | None = None
    mean_useful_tokens_per_s: float | None = None
    mean_useful_share: float | None = None
    mean_loss_share: float | None = None
    peak_memory_gib: float | None = None
    held_out: dict[str, Any] = field(default_factory=dict)
    start_loss: float | None = None
    taken_back: bool = False


def write_report(path: Path, report: TrainingReport) -> None:
    """Writes `report` as JSON to the file `path`."""
    path.write_text(format_report(report), encoding="utf-8")


def format_report(report: TrainingReport) -> str:
    """The report as JSON."""
    return json.dumps(to_jsonable(report), indent=1, sort_keys=True) + "\n"


def read_report(path: Path) -> TrainingReport:
    """Reads a report written by `write_report`.

    Raises:
        CheckpointError: the file is missing or is not a training report.
    """
    try:
        raw: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return TrainingReport(**{**raw, "curve": tuple(raw["curve"]), "fitted": tuple(raw.get("fitted", ()))})
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"{path}: expected a training report ({error}); train again") from None
