"""Supervised fine-tuning: the answers that people liked, imitated by a LoRA adapter on the frozen base.

TRL's SFTTrainer with loss on the completion only. Defaults are the reference design's (r 16, alpha 32, learning rate
2e-4); LoRA is from Hu et al. 2021, arXiv:2106.09685.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from flytewheel.dataset import Dataset, digest_content
from flytewheel.errors import BaseModelError, DatasetError
from flytewheel.models import Device, base_digest, find_device, load_tokenizer
from flytewheel.progress import quiet_libraries
from flytewheel.recipe import BaseModelSpec, TrainingSpec
from flytewheel.records import SftRow
from flytewheel.training.arguments import (
    MAX_VALIDATION_ROWS,
    check_adapter,
    check_base,
    load_trainable,
    lora_config,
    sft_arguments,
)
from flytewheel.training.checkpoints import CODE_VERSION, Manifest, open_checkpoints
from flytewheel.training.fit import Plan, fit, summarise
from flytewheel.training.redaction import Looked, RedactTexts, look_again
from flytewheel.training.report import TrainingReport
from flytewheel.training.rows import Rows, sft_rows, thin
from flytewheel.training.start import Start, attach_start
from flytewheel.training.takeback import Bar
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
    start: Start | None = None,
) -> TrainingReport:
    """Trains an adapter on the SFT rows of a data set.

    Args:
        dataset: Folder of a frozen data set.
        out: Gets `adapter_config.json`, `adapter_model.safetensors` and `report.json`.
        base: The model to adapt.
        training: How.
        seed: Decides the adapter's first weights, dropout and the order of rows.
        at: Where the training is at work.
        redact: Looks at the rows once more (`redaction`).
        start: An adapter to go on from instead of a fresh one, and to be taken back to (`takeback`).

    Raises:
        BaseModelError: the base cannot be loaded, or is not the one that `start` was trained on.
        CheckpointError: the checkpoint directory belongs to another training.
        DatasetError: there is no data set, or none of its rows can be trained on.
        RecipeError: the adapter, or the dtype or attention of the base, is not for this device.
    """
    device = find_device()
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
    with open_checkpoints(at.checkpoints, manifest) as folder:
        report = folder.finished()
        if report is not None:
            summarise(report, at.tracker)
        else:
            with quiet_libraries():
                plan = _plan(data, rows, folder.folder, base, training, seed, device, start)
                report = fit(plan, folder, at, base_digest=learnt_on)
        folder.publish(out)
    return report


def _plan(
    data: Dataset,
    rows: Looked[SftRow],
    folder: Path,
    base: BaseModelSpec,
    training: TrainingSpec,
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

    def make_trainer(callbacks: list[Any]) -> Any:
        return make_sft_trainer(
            train, validation, tokenizer, callbacks,
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
        make_trainer=make_trainer,
        bar=Bar(start.folder, start.tolerance) if start is not None else None,
    )


def make_sft_trainer(
    train: Rows,
    validation: Rows,
    tokenizer: Any,
    callbacks: list[Any],
    *,
    base: BaseModelSpec,
    training: TrainingSpec,
    seed: int,
    device: Device,
    folder: Path,
    start: Path | None = None,
) -> Any:
    """Builds the TRL trainer of tokenised rows, its model loaded with a fresh adapter, or the one in `start`."""
    from trl.trainer.sft_config import SFTConfig
    from trl.trainer.sft_trainer import SFTTrainer

    model = load_trainable(base, training, device)
    arguments = sft_arguments(
        base, training, device=device, parameters=model.num_parameters(), rows=train.count,
        validate=validation.table is not None, seed=seed, folder=folder,
    )  # fmt: skip
    if start is not None:
        model = attach_start(model, start, base)
    return SFTTrainer(
        model=model,
        args=SFTConfig(**arguments),
        train_dataset=train.table,
        eval_dataset=validation.table,
        processing_class=tokenizer,
        peft_config=lora_config(training) if start is None else None,
        callbacks=callbacks,
    )
