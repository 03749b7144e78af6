"""Takes a training to its end, from wherever an earlier attempt was stopped, and publishes the adapter.

The same for every trainer: look for a finished attempt, go on from the newest complete checkpoint, report the curve,
and publish what others need: `adapter_config.json`, `adapter_model.safetensors`, `report.json`; full weights as `full`
writes them. Not the frozen reference, not the optimiser, and no path of this machine. On CPU a training that was killed
and gone on with gives the same bytes as one that was not, with the same number of threads.

Where memory runs out, training goes on from the newest checkpoint with half the rows at once and as many a step
(`micro_batch`); where time runs out, it stops (`allowance`). Both are in the report, in words.
"""

from __future__ import annotations

import json
import pickle
import shutil
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flytewheel.errors import CheckpointError, DivergedError, TrainingError
from flytewheel.models import Device, is_commit, trained_files
from flytewheel.recipe import BaseModelSpec
from flytewheel.records import canonical_json, digest, file_digest
from flytewheel.training.allowance import Allowance, Clock, keep_time
from flytewheel.training.batches import BatchFigures
from flytewheel.training.chance import validate_aside
from flytewheel.training.checkpoints import Checkpoints
from flytewheel.training.full import is_full, reload_full, save_full
from flytewheel.training.journal import Journal, read_journal
from flytewheel.training.micro_batch import MicroBatch, free_memory, is_out_of_memory
from flytewheel.training.order import order_by_epoch
from flytewheel.training.processes import find_processes
from flytewheel.training.reference import count_reference
from flytewheel.training.report import Method, TrainingReport, format_report
from flytewheel.training.seal import SEAL
from flytewheel.training.takeback import Bar, Taken, choose_step, compare_from_start
from flytewheel.training.watcher import read_curve, watch
from flytewheel.training.workplace import Workplace

if TYPE_CHECKING:
    from flytewheel.tracking import Tracker


@dataclass(frozen=True, slots=True)
class Plan:
    """What is trained and why.

    `make_trainer` gets transformers callbacks and a micro-batch, and returns a TRL trainer on a PEFT model, or on one
    whose weights are all trained. `batch` is the micro-batch to begin with, `least` the fewest rows that one needs,
    `fitted` says in words why it is smaller than the recipe's. `measure` gets the trainer back at its end, and says
    what it shows on held-out rows.
    """

    method: Method
    reason: str
    base: BaseModelSpec
    device: Device
    rows: int
    truncated_rows: int
    redacted_rows: int
    keep_checkpoints: int
    batch: MicroBatch
    make_trainer: Callable[[list[Any], MicroBatch], Any]
    least: int = 1
    fitted: tuple[str, ...] = ()
    truncated_tokens: int = 0
    truncation: str = ""
    figures: BatchFigures | None = None
    batching: str = ""
    measure: Callable[[Any], dict[str, Any]] | None = None
    bar: Bar | None = None  # taken back when it is worse than its start


@dataclass(frozen=True, slots=True)
class _Attempt:
    """A trainer at its end: where it began, and why it stopped early (empty: it did not)."""

    trainer: Any
    watcher: Any
    resumed_from: int
    stopped: str


def fit(
    plan: Plan, checkpoints: Checkpoints, at: Workplace, *, base_digest: str, allowance: Allowance | None = None
) -> TrainingReport:
    """Trains `plan` to its end in `checkpoints`, leaves the adapter in its `finished/`, and returns the report.

    Args:
        plan: What is trained and why.
        checkpoints: Where an earlier attempt may have left off.
        at: Who is told.
        base_digest: Content of the base model, for the record (`models.base_digest`).
        allowance: How long it may take.

    Raises:
        CheckpointError: a checkpoint is not what training wrote.
        TrainingError: weights are not finite at the end, or memory does not suffice for the smallest micro-batch;
            nothing is published.
    """
    started = time.monotonic()
    processes = find_processes()
    allowance = allowance or Allowance()
    clock = Clock(checkpoints.folder, read_journal(checkpoints.folder, checkpoints.newest()))
    batch = plan.batch
    if clock.journal.rows is not None:
        batch = plan.batch.limit(clock.journal.rows, plan.least) or plan.batch
    while True:
        keeper, cause = keep_time(clock, allowance), ""
        try:
            attempt = _train(plan, batch, checkpoints, at, keeper, clock, allowance)
            break
        except Exception as error:
            if not is_out_of_memory(error) or processes.count > 1:  # others would wait for this one
                raise
            cause = " ".join(str(error).split())[:160]
        # Only here, with the exception, are the frames gone that held the batch's tensors.
        free_memory()
        smaller = batch.halve(plan.least)
        if smaller is None:
            raise TrainingError(
                f"{plan.method}: out of memory with a micro-batch of {batch.rows} already ({cause}); lower "
                "base.max_length or training.lora_rank, take a smaller base, or training.adapter: qlora on CUDA"
            )
        newest = checkpoints.newest()
        said = (
            f"out of memory after step {keeper.step} with micro-batches of {batch.rows}: went on from "
            f"{newest.name if newest else 'the start'} with {smaller}, {smaller.step_rows} rows a step as before"
        )
        batch = smaller
        clock.journal = Journal(clock.seconds, batch.rows, (*clock.journal.said, said))
        clock.write()
        if at.progress is not None:
            at.progress(f"{plan.method}: {said}", keeper.step, None)
    trainer = attempt.trainer
    if plan.bar is None:
        _check_finite(trainer.model, plan.method, int(trainer.state.global_step))

    if not processes.first:
        told: TrainingReport = processes.tell(None)
        return told
    staged = checkpoints.folder / "finished.partial"
    taken = _take_best(trainer, checkpoints, plan) if plan.bar is not None else None
    if plan.bar is not None and taken is not None and not taken.step:
        adapter_digest = _copy_adapter(plan.bar.adapter, staged)
    else:
        adapter_digest = _save_adapter(trainer, plan.base, base_digest, staged)
    curve = read_curve(trainer.state.log_history)
    losses = [point["loss"] for point in curve if "loss" in point]
    evaluations = [point["eval_loss"] for point in curve if "eval_loss" in point]
    clock.write()
    report = TrainingReport(
        method=plan.method,
        reason=f"{plan.reason}; {taken.reason}" if taken else plan.reason,
        rows=plan.rows,
        steps=int(trainer.state.global_step),
        first_loss=losses[0] if losses else None,
        last_loss=losses[-1] if losses else None,
        eval_loss=taken.loss if taken else evaluations[-1] if evaluations else None,
        curve=curve,
        device=str(plan.device),
        seconds=round(time.monotonic() - started, 3),
        resumed_from_step=attempt.resumed_from,
        truncated_rows=plan.truncated_rows,
        adapter_digest=adapter_digest,
        redacted_rows=plan.redacted_rows,
        base=base_digest,
        **count_reference(trainer),
        truncated_tokens=plan.truncated_tokens,
        truncation=plan.truncation,
        batches=None if plan.figures is None else asdict(plan.figures),
        batching=plan.batching,
        micro_batch=batch.rows,
        stopped=attempt.stopped,
        fitted=(*plan.fitted, *clock.journal.said),
        total_seconds=round(clock.seconds, 3),
        **attempt.watcher.totals(),
        held_out=plan.measure(trainer) if plan.measure is not None else {},
        start_loss=taken.start_loss if taken else None,
        taken_back=taken is not None and not taken.step,
    )
    checkpoints.finish(staged, report)
    summarise(report, at.tracker, checkpoints)
    processes.tell(report)
    return report


def _train(
    plan: Plan,
    batch: MicroBatch,
    checkpoints: Checkpoints,
    at: Workplace,
    keeper: Any,
    clock: Clock,
    allowance: Allowance,
) -> _Attempt:
    """One attempt, from the newest checkpoint to the end or to where time is over, and a last evaluation."""
    from transformers.trainer_callback import PrinterCallback, TrainerState

    watcher = watch(plan.method, plan.keep_checkpoints, checkpoints, at, plan.device.kind)
    trainer = plan.make_trainer([keeper, watcher], batch)
    watcher.attach(trainer)
    trainer.remove_callback(PrinterCallback)
    order_by_epoch(trainer, trainer.args.seed)
    validate_aside(trainer)
    newest = checkpoints.newest()
    resumed_from, stopped = 0, ""
    if plan.bar is not None:
        compare_from_start(trainer, resumed=newest is not None)
    if newest is None:
        trainer.train()
    else:
        state = TrainerState.load_from_json(str(newest / "trainer_state.json"))
        resumed_from = keeper.step = state.global_step
        ended = state.global_step >= state.max_steps
        if ended or find_processes().tell(allowance.is_spent(clock.seconds)):
            # Killed after the last step: going on "from" it would take one step more.
            if is_full(trainer.model):
                reload_full(trainer.model, newest)
            else:
                trainer.model.load_adapter(str(newest), "default", is_trainable=True)
            trainer.state = state
            watcher.restore(state)
            stopped = "" if ended else allowance.describe(state.global_step, state.max_steps)
        else:
            try:
                trainer.train(resume_from_checkpoint=str(newest))
            except pickle.UnpicklingError as error:  # torch builds tensors from a pickle and refuses everything else
                cause = " ".join(str(error).split())[:120]
                raise CheckpointError(
                    f"{newest}: cannot be resumed from ({cause}); remove it to train afresh"
                ) from None
    if trainer.eval_dataset is not None and not _evaluated_at(trainer.state):
        trainer.evaluate()
    return _Attempt(trainer, watcher, resumed_from, keeper.stopped or stopped)


def summarise(report: TrainingReport, tracker: Tracker | None, checkpoints: Checkpoints | None = None) -> None:
    """Gives the figures of a report to the tracker, and the digests of what is left of its checkpoints."""
    if tracker is not None:
        names = (
            "method", "reason", "rows", "steps", "first_loss", "last_loss", "eval_loss", "seconds", "resumed_from_step",
            "truncated_rows", "truncated_tokens", "redacted_rows", "base", "reference_answers", "reference_computed",
            "micro_batch", "stopped", "fitted", "start_loss", "taken_back", "tokens", "mean_tokens_per_s",
            "mean_useful_tokens_per_s", "mean_useful_share", "mean_loss_share", "peak_memory_gib",
        )  # fmt: skip
        tracker.summary({name: getattr(report, name) for name in names})
    if tracker is not None and checkpoints is not None:
        kept = checkpoints.complete()
        seals = {path.name: (path / SEAL).read_text("utf-8") for path in kept}
        facts = {name: getattr(report, name) for name in ("method", "steps", "adapter_digest", "base")}
        files = {"report.json": format_report(report), **{f"{name}.json": seal for name, seal in seals.items()}}
        tracker.artifact("checkpoints", files, {**facts, "checkpoints": list(seals)})


def digest_adapter(folder: Path) -> str:
    """Digest of what was trained, an adapter or full weights: over the files that make it, by name."""
    return digest({name: file_digest(folder / name) for name in trained_files(folder)})


def name_base(base: BaseModelSpec) -> str:
    """What an adapter says its base is: the recipe's words, and for a folder its name, not where it lies."""
    folder = Path(base.model).expanduser()
    return folder.name if folder.is_absolute() or base.model.startswith(".") else base.model


def _take_best(trainer: Any, checkpoints: Checkpoints, plan: Plan) -> Taken:
    """Chooses the step to publish and loads its weights, which must be finite."""
    assert plan.bar is not None
    last = int(trainer.state.global_step)
    kept = {int(path.name.rpartition("-")[2]): path for path in checkpoints.complete()}
    taken = choose_step(trainer.state.log_history, {*kept, last}, plan.bar.tolerance)
    if taken.step and taken.step != last:
        trainer.model.load_adapter(str(kept[taken.step]), "default", is_trainable=True)
    if taken.step:
        _check_finite(trainer.model, plan.method, taken.step)
    return taken


def _copy_adapter(adapter: Path, folder: Path) -> str:
    if folder.exists():
        shutil.rmtree(folder)
    folder.mkdir()
    for name in trained_files(adapter):
        shutil.copyfile(adapter / name, folder / name)
    return digest_adapter(folder)


def _save_adapter(trainer: Any, base: BaseModelSpec, base_digest: str, folder: Path) -> str:
    if folder.exists():
        shutil.rmtree(folder)
    if is_full(trainer.model):
        save_full(trainer.model, folder)
        return digest_adapter(folder)
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
