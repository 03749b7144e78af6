"""Takes a training to its end, from wherever an earlier attempt was stopped, and publishes the adapter.

The same for every trainer: look for a finished attempt, go on from the newest complete checkpoint, report the curve,
and publish what others need: `adapter_config.json`, `adapter_model.safetensors`, `report.json`. Not the frozen
reference, not the optimiser, and no path of this machine. On CPU a training that was killed and gone on with gives the
same bytes as one that was not, with the same number of threads.
"""

from __future__ import annotations

import json
import pickle
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flytewheel.errors import CheckpointError, DivergedError
from flytewheel.models import Device, is_commit
from flytewheel.recipe import BaseModelSpec
from flytewheel.records import canonical_json, digest, file_digest
from flytewheel.training.chance import validate_aside
from flytewheel.training.checkpoints import Checkpoints
from flytewheel.training.order import order_by_epoch
from flytewheel.training.report import Method, TrainingReport
from flytewheel.training.watcher import measured, watch
from flytewheel.training.workplace import Workplace

if TYPE_CHECKING:
    from flytewheel.tracking import Tracker

ADAPTER_FILES = ("adapter_config.json", "adapter_model.safetensors")


@dataclass(frozen=True, slots=True)
class Plan:
    """What is trained and why. `make_trainer` gets transformers callbacks and returns a TRL trainer on a PEFT model."""

    method: Method
    reason: str
    base: BaseModelSpec
    device: Device
    rows: int
    truncated_rows: int
    redacted_rows: int
    keep_checkpoints: int
    make_trainer: Callable[[list[Any]], Any]


def fit(plan: Plan, checkpoints: Checkpoints, at: Workplace, *, base_digest: str) -> TrainingReport:
    """Trains `plan` to its end in `checkpoints`, leaves the adapter in its `finished/`, and returns the report.

    Args:
        plan: What is trained and why.
        checkpoints: Where an earlier attempt may have left off.
        at: Who is told.
        base_digest: Content of the base model, for the record (`models.base_digest`).

    Raises:
        CheckpointError: a checkpoint is not what training wrote.
        DivergedError: weights are not finite at the end; nothing is published.
    """
    started = time.monotonic()
    trainer = plan.make_trainer([watch(plan.method, plan.keep_checkpoints, checkpoints, at)])
    order_by_epoch(trainer, trainer.args.seed)
    validate_aside(trainer)
    from transformers.trainer_callback import PrinterCallback, TrainerState

    trainer.remove_callback(PrinterCallback)
    newest = checkpoints.newest()
    resumed_from = 0
    if newest is None:
        trainer.train()
    else:
        state = TrainerState.load_from_json(str(newest / "trainer_state.json"))
        resumed_from = state.global_step
        if state.global_step >= state.max_steps:
            # Killed after the last step: going on "from" it would take one step more.
            trainer.model.load_adapter(str(newest), "default", is_trainable=True)
            trainer.state = state
        else:
            try:
                trainer.train(resume_from_checkpoint=str(newest))
            except pickle.UnpicklingError as error:  # torch builds tensors from a pickle and refuses everything else
                cause = " ".join(str(error).split())[:120]
                raise CheckpointError(
                    f"{newest}: cannot be resumed from ({cause}); remove it to train afresh"
                ) from None
    _check_finite(trainer.model, plan.method, int(trainer.state.global_step))
    if trainer.eval_dataset is not None and not _evaluated_at(trainer.state):
        trainer.evaluate()

    staged = checkpoints.folder / "finished.partial"
    adapter_digest = _save_adapter(trainer, plan.base, base_digest, staged)
    curve = _read_curve(trainer.state.log_history)
    losses = [point["loss"] for point in curve if "loss" in point]
    evaluations = [point["eval_loss"] for point in curve if "eval_loss" in point]
    report = TrainingReport(
        method=plan.method,
        reason=plan.reason,
        rows=plan.rows,
        steps=int(trainer.state.global_step),
        first_loss=losses[0] if losses else None,
        last_loss=losses[-1] if losses else None,
        eval_loss=evaluations[-1] if evaluations else None,
        curve=curve,
        device=str(plan.device),
        seconds=round(time.monotonic() - started, 3),
        resumed_from_step=resumed_from,
        truncated_rows=plan.truncated_rows,
        adapter_digest=adapter_digest,
        redacted_rows=plan.redacted_rows,
        base=base_digest,
    )
    checkpoints.finish(staged, report)
    summarise(report, at.tracker)
    return report


def summarise(report: TrainingReport, tracker: Tracker | None) -> None:
    """Gives the figures of a report to the tracker."""
    if tracker is not None:
        names = (
            "method", "reason", "rows", "steps", "first_loss", "last_loss", "eval_loss", "seconds", "resumed_from_step",
            "truncated_rows", "redacted_rows", "base",
        )  # fmt: skip
        tracker.summary({name: getattr(report, name) for name in names})


def digest_adapter(folder: Path) -> str:
    """Digest of an adapter: over the two files that make it, by name."""
    return digest({name: file_digest(folder / name) for name in ADAPTER_FILES})


def name_base(base: BaseModelSpec) -> str:
    """What an adapter says its base is: the recipe's words, and for a folder its name, not where it lies."""
    folder = Path(base.model).expanduser()
    return folder.name if folder.is_absolute() or base.model.startswith(".") else base.model


def _save_adapter(trainer: Any, base: BaseModelSpec, base_digest: str, folder: Path) -> str:
    if folder.exists():
        shutil.rmtree(folder)
    raw = folder.with_suffix(".raw")
    # Embeddings are never trained here; "auto" would ask the hub whether their size has changed.
    trainer.model.save_pretrained(str(raw), selected_adapters=["default"], save_embedding_layers=False)
    config = json.loads((raw / "adapter_config.json").read_text(encoding="utf-8"))
    config["base_model_name_or_path"] = name_base(base)
    config["revision"] = base_digest if is_commit(base_digest) else base.revision
    if isinstance(config["target_modules"], list):
        config["target_modules"].sort()  # a set in memory: its order is salted
    folder.mkdir()
    (folder / "adapter_config.json").write_bytes(canonical_json(config) + b"\n")
    shutil.copyfile(raw / "adapter_model.safetensors", folder / "adapter_model.safetensors")
    shutil.rmtree(raw)
    return digest_adapter(folder)


def _check_finite(model: Any, method: str, steps: int) -> None:
    """Looks at the weights, not at the loss: transformers leaves losses that are not finite out of its log."""
    trained = [weight for weight in model.parameters() if weight.requires_grad]
    broken = sum(not bool(weight.isfinite().all()) for weight in trained)
    if broken:
        raise DivergedError(
            f"{method} diverged: {broken} of {len(trained)} trained tensors are not finite after {steps} steps; "
            "lower the learning rate"
        )


def _evaluated_at(state: Any) -> bool:
    return any(entry["step"] == state.global_step and "eval_loss" in entry for entry in state.log_history)


def _read_curve(history: list[dict[str, Any]]) -> tuple[dict[str, float], ...]:
    curve = [measured(entry) for entry in history]
    return tuple(point for point in curve if set(point) - {"step", "epoch"})
