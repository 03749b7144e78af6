"""Supervised fine-tuning: the answers that people liked, imitated by a LoRA adapter on the frozen base.

TRL's SFTTrainer with loss on the completion only. Defaults are the reference design's (r 16, alpha 32, learning rate
2e-4); LoRA is from Hu et al. 2021, arXiv:2106.09685.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from flytewheel.dataset import Dataset, digest_content
from flytewheel.errors import BaseModelError, DatasetError
from flytewheel.models import Device, base_digest, find_device, load_tokenizer
from flytewheel.progress import quiet_libraries
from flytewheel.recipe import BaseModelSpec, BudgetSpec, TrainingSpec
from flytewheel.records import SftRow
from flytewheel.training.acceleration import accelerate
from flytewheel.training.allowance import Allowance
from flytewheel.training.arguments import (
    MAX_VALIDATION_ROWS,
    check_adapter,
    check_base,
    load_trainable,
    lora_config,
    sft_arguments,
)
from flytewheel.training.checkpoints import CODE_VERSION, Manifest, open_checkpoints
from flytewheel.training.completion import make_completion_trainer
from flytewheel.training.feed import Feed, feed_rows
from flytewheel.training.fit import Plan, fit, summarise
from flytewheel.training.isolation import check_rows_stay_apart
from flytewheel.training.memory import fit_memory
from flytewheel.training.micro_batch import MicroBatch
from flytewheel.training.processes import join_processes, on_one_card
from flytewheel.training.redaction import Looked, RedactTexts, look_again
from flytewheel.training.report import TrainingReport
from flytewheel.training.row_attention import take_rows_flat
from flytewheel.training.rows import Rows, sft_rows, thin
from flytewheel.training.sequences import Sequences, lay_out
from flytewheel.training.start import Start, attach_start
from flytewheel.training.takeback import Bar
from flytewheel.training.truncation import describe_truncation
from flytewheel.training.workplace import Workplace

__all__ = ["CODE_VERSION", "train_sft"]


def train_sft(
    dataset: Path,
    out: Path,
    *,
    base: BaseModelSpec,
    training: TrainingSpec,
    seed: int,
    at: Workplace,
    redact: RedactTexts | None = None,
    budget: BudgetSpec | None = None,
    start: Start | None = None,
) -> TrainingReport:
    """Trains an adapter on the SFT rows of a data set.

    Args:
        dataset: Folder of a frozen data set.
        out: Gets `adapter_config.json`, `adapter_model.safetensors` and `report.json`; `config.json` and safetensors
            instead of the first two with `training.adapter: full`.
        base: The model to adapt.
        training: How.
        seed: Decides the adapter's first weights, dropout and the order of rows.
        at: Where the training is at work.
        redact: Looks at the rows once more (`redaction`).
        budget: Time and memory that it may take.
        start: An adapter to go on from instead of a fresh one, and to be taken back to (`takeback`).

    Raises:
        BaseModelError: the base cannot be loaded, or is not the one that `start` was trained on.
        CheckpointError: an unfinished training would be left behind (`checkpoints`), or is at work.
        DatasetError: there is no data set, or none of its rows can be trained on.
        RecipeError: the adapter, or the dtype or attention of the base, is not for this device, or memory would not
            suffice.
    """
    budget = budget or BudgetSpec()
    device = find_device()
    processes = join_processes(device)
    check_adapter(training, device)
    check_base(base, device)
    data = Dataset(dataset)
    validation = thin(data.sft("validation"), MAX_VALIDATION_ROWS)
    if start is not None:
        validation = start.mix("sft", validation)
    rows = look_again(data.sft("train"), validation, data.card, redact)
    learnt_on = base_digest(base)
    if start is not None and start.base not in ("", learnt_on):
        raise BaseModelError(
            f"{start.version}: was trained on the base {start.base[:12]}, base.model {base.model!r} is "
            f"{learnt_on[:12]} now; pin base.revision, or train from the base"
        )
    manifest = Manifest(
        station="sft",
        data=digest_content(dataset),
        recipe={
            "base": base.model_dump(mode="json"),
            "base_digest": learnt_on,
            "training": training.model_dump(mode="json"),
            **rows.name(),
            **({} if start is None else start.name()),
        },
        seed=seed,
        start=start.adapter if start is not None else None,
    )
    allowance = Allowance(budget.hours)
    with open_checkpoints(at, manifest) as folder:
        report: TrainingReport | None = processes.tell(allowance.settled(folder))
        if report is not None:
            summarise(report, at.tracker, folder)
        else:
            with quiet_libraries():
                plan = _plan(data, rows, folder.folder, base, training, budget, seed, device, start)
                report = fit(plan, folder, at, base_digest=learnt_on, allowance=allowance)
        if processes.first:
            folder.publish(out)
        processes.wait()
    return report


def _plan(
    data: Dataset,
    rows: Looked[SftRow],
    folder: Path,
    base: BaseModelSpec,
    training: TrainingSpec,
    budget: BudgetSpec,
    seed: int,
    device: Device,
    start: Start | None,
) -> Plan:
    tokenizer = load_tokenizer(base)
    train = sft_rows(rows.train, tokenizer, base.max_length)
    validation = sft_rows(rows.validation, tokenizer, base.max_length)
    if train.table is None:
        raise DatasetError(
            f"{data.path}: expected SFT rows that fit into base.max_length = {base.max_length} tokens, found 0 "
            f"({train.truncated} too long); collect more feedback, or raise base.max_length"
        )

    feed = feed_rows(train, base, training, seed=seed, device=device)
    longest = max(feed.sequences.lengths)
    batch, fitted = fit_memory(
        budget, feed.pace.micro_batch, "sft", base=base, training=training, longest=longest,
        answers=max(feed.sequences.loss_lengths), rows=len(feed.sequences), device=device,
    )  # fmt: skip

    def make_trainer(callbacks: list[Any], batch: MicroBatch) -> Any:
        return make_sft_trainer(
            train, validation, tokenizer, callbacks, feed, batch,
            base=base, training=training, seed=seed, device=device, folder=folder,
            start=start.folder if start is not None else None,
        )  # fmt: skip

    return Plan(
        method="sft",
        reason=f"{train.count} rows" if start is None else f"{train.count} rows, on from {start.version}",
        base=base,
        device=device,
        rows=train.count,
        truncated_rows=train.truncated,
        redacted_rows=rows.changed,
        keep_checkpoints=training.keep_checkpoints,
        batch=batch,
        make_trainer=make_trainer,
        truncated_tokens=train.lost_tokens,
        truncation=describe_truncation(train, base.max_length, cut=True),
        figures=feed.figures,
        batching=feed.pace.told,
        fitted=fitted,
        bar=Bar(start.folder, start.tolerance) if start is not None else None,
    )


def make_sft_trainer(
    train: Rows,
    validation: Rows,
    tokenizer: Any,
    callbacks: list[Any],
    feed: Feed,
    batch: MicroBatch | None = None,
    *,
    base: BaseModelSpec,
    training: TrainingSpec,
    seed: int,
    device: Device,
    folder: Path,
    load: Callable[..., Any] = load_trainable,
    start: Path | None = None,
) -> Any:
    """Builds the trainer of `feed`, its model loaded (by `load`) and, but for full weights, wrapped with an adapter:
    a fresh one, or the one in `start`.

    Raises:
        RecipeError: rows are packed, and the model mixes packed rows.
    """
    from trl.trainer.sft_config import SFTConfig

    batch = batch or feed.pace.micro_batch
    model = load(base, training, device)
    arguments = sft_arguments(
        base, training, pace=feed.pace.with_batch(batch), device=device, parameters=model.num_parameters(),
        sequences=len(feed.sequences), validate=validation.table is not None, seed=seed, folder=folder,
    )  # fmt: skip
    packed = len(feed.sequences) < train.count
    batches = lay_out(tokenizer.pad_token_id, flat=packed and take_rows_flat(model))
    if packed:
        check_rows_stay_apart(model, batches)
    if start is not None:
        model = attach_start(model, start, base)
    trainer = make_completion_trainer(
        feed.sequences,
        None if validation.table is None else Sequences(validation.table),
        lay_out=batches,
        model=model,
        args=on_one_card(SFTConfig(**arguments)),
        train_dataset=train.table,
        eval_dataset=validation.table,
        processing_class=tokenizer,
        peft_config=lora_config(training) if start is None else None,
        callbacks=callbacks,
    )
    trainer.group_rows = feed.pace.batch_size
    accelerate(trainer, device, tokens=batch.rows * max(feed.sequences.lengths))
    return trainer
