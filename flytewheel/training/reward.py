"""Learning what people like: preference pairs teach a scalar, which judges answers and which GRPO climbs.

The Bradley-Terry loss, -log sigmoid(r(chosen) - r(rejected)), through TRL's RewardTrainer (Bradley & Terry 1952; Ouyang
et al. 2022, arXiv:2203.02155, equation 1): a LoRA adapter with a scalar head on the bare base. Departs from the paper,
which starts from the SFT policy: from the base, it can be trained beside SFT, and a candidate is not judged by a model
that grew out of it. Pairs are tokenised here (`reward_model.render_answer`), so that what is scored later is read at
the same token.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from flytewheel.dataset import Dataset, digest_content
from flytewheel.errors import DatasetError
from flytewheel.models import Device, base_digest, find_device, load_tokenizer
from flytewheel.progress import quiet_libraries
from flytewheel.recipe import BaseModelSpec, RewardSpec, RlhfSpec, TrainingSpec
from flytewheel.records import Preference
from flytewheel.reward_model import RewardModel, render_answer
from flytewheel.training.arguments import (
    MAX_VALIDATION_ROWS,
    check_adapter,
    check_base,
    load_trainable,
    lora_config,
    reward_arguments,
)
from flytewheel.training.checkpoints import CODE_VERSION, Manifest, open_checkpoints
from flytewheel.training.fit import Plan, fit, summarise
from flytewheel.training.micro_batch import MicroBatch, of_spec
from flytewheel.training.pair_quality import choose_length_rule, describe_pairs
from flytewheel.training.processes import join_processes, on_one_card
from flytewheel.training.redaction import Looked, RedactTexts, look_again
from flytewheel.training.report import TrainingReport, write_report
from flytewheel.training.rows import Rows, thin
from flytewheel.training.workplace import Workplace

__all__ = ["CODE_VERSION", "explain_skipping", "train_reward"]


def explain_skipping(reward: RewardSpec, rlhf: RlhfSpec, pairs: int) -> str | None:
    """Why no reward model is trained on so many training pairs, in words; `None`: one is."""
    if reward.enable is False:
        return "reward.enable is false: skipped"
    if reward.enable == "auto" and not (rlhf.enable and rlhf.method == "grpo"):
        method = rlhf.method if rlhf.enable else "off"
        return f"rlhf.method {method!r} needs no reward model: skipped as reward.enable 'auto' says"
    if pairs < reward.min_pairs:
        return f"{pairs} of {reward.min_pairs} pairs: skipped, too few for a reward model"
    return None


def train_reward(
    dataset: Path,
    out: Path,
    *,
    base: BaseModelSpec,
    training: TrainingSpec,
    reward: RewardSpec,
    rlhf: RlhfSpec,
    seed: int,
    at: Workplace,
    redact: RedactTexts | None = None,
) -> TrainingReport:
    """Trains a reward model on the preference pairs of a data set.

    Args:
        dataset: Folder of a frozen data set.
        out: Gets `adapter_config.json`, `adapter_model.safetensors` (with the head) and `report.json`; the report alone
            when skipped.
        base: The model under the adapter.
        training: Shape of the adapter, weight decay, schedule.
        reward: How.
        rlhf: Whether something needs one.
        seed: Decides the adapter's first weights and the order of rows.
        at: Where the training is at work.
        redact: Looks at the rows once more (`redaction`).

    Raises:
        BaseModelError: the base cannot be loaded.
        CheckpointError: an unfinished training would be left behind (`checkpoints`), or is at work.
        DatasetError: there is no data set, or none of its pairs fits.
        RecipeError: the adapter, or the dtype or attention of the base, is not for this device.
    """
    device = find_device()
    processes = join_processes(device)
    data = Dataset(dataset)
    reason = explain_skipping(reward, rlhf, len(data.preferences("train")))
    if reason is not None:
        report = _skip(out, reason, device)
        summarise(report, at.tracker)
        return report
    if training.adapter == "full":  # a judge is an adapter always: its base is shared with what it judges
        training = training.model_copy(update={"adapter": "lora"})
    check_adapter(training, device)
    check_base(base, device)
    held_out = thin(data.preferences("validation"), MAX_VALIDATION_ROWS)
    rows = look_again(data.preferences("train"), held_out, data.card, redact)
    learnt_on = base_digest(base)
    manifest = Manifest(
        station="reward",
        data=digest_content(dataset),
        recipe={
            "base": base.model_dump(mode="json"),
            "base_digest": learnt_on,
            "training": training.model_dump(mode="json"),
            "reward": reward.model_dump(mode="json"),
            **rows.name(),
        },
        seed=seed,
    )
    with open_checkpoints(at, manifest) as folder:
        finished = processes.tell(folder.finished())
        if finished is not None:
            report = finished
            summarise(report, at.tracker, folder)
        else:
            with quiet_libraries():
                plan = _plan(data, rows, folder.folder, base, training, reward, seed, device)
                report = fit(plan, folder, at, base_digest=learnt_on)
        if processes.first:
            folder.publish(out)
        processes.wait()
    return report


def _skip(out: Path, reason: str, device: Device) -> TrainingReport:
    report = TrainingReport(
        method="skipped", reason=reason, rows=0, steps=0, first_loss=None, last_loss=None, eval_loss=None, curve=(),
        device=str(device), seconds=0.0, resumed_from_step=0, truncated_rows=0, adapter_digest=None,
    )  # fmt: skip
    out.mkdir(parents=True, exist_ok=True)
    write_report(out / "report.json", report)
    return report


def reward_rows(pairs: Sequence[Preference], tokenizer: Any, max_length: int) -> Rows:
    """Turns pairs into `chosen_ids`, `rejected_ids` and `length`; those of which a side is too long go, counted."""
    from datasets import Dataset as Table

    records = []
    for pair in pairs:
        chosen, rejected = (render_answer(tokenizer, pair.prompt, text) for text in (pair.chosen, pair.rejected))
        longest = max(len(chosen), len(rejected))
        if longest <= max_length:
            records.append({"chosen_ids": chosen, "rejected_ids": rejected, "length": longest})
    return Rows(Table.from_list(records) if records else None, len(records), len(pairs) - len(records))


def _plan(
    data: Dataset,
    rows: Looked[Preference],
    folder: Path,
    base: BaseModelSpec,
    training: TrainingSpec,
    reward: RewardSpec,
    seed: int,
    device: Device,
) -> Plan:
    tokenizer = load_tokenizer(base)
    train, validation = (reward_rows(own, tokenizer, base.max_length) for own in (rows.train, rows.validation))
    if train.table is None:
        raise DatasetError(
            f"{data.path}: expected pairs that fit into base.max_length = {base.max_length} tokens, "
            f"all {train.truncated} are longer; raise base.max_length"
        )
    rule = choose_length_rule(_list_lengths(train))

    def make_trainer(callbacks: list[Any], batch: MicroBatch) -> Any:
        return make_reward_trainer(
            train, validation, tokenizer, callbacks,
            base=base, training=training, reward=batch.apply(reward), seed=seed, device=device, folder=folder,
        )  # fmt: skip

    def measure(trainer: Any) -> dict[str, Any]:
        margins = measure_margins(trainer.model, validation, tokenizer, base.max_length)
        return describe_pairs(margins, _list_lengths(validation), rule)

    return Plan(
        method="reward",
        reason=f"{train.count} pairs",
        base=base,
        device=device,
        rows=train.count,
        truncated_rows=train.truncated,
        redacted_rows=rows.changed,
        keep_checkpoints=reward.keep_checkpoints,
        batch=of_spec(reward),
        make_trainer=make_trainer,
        measure=measure,
    )


def make_reward_trainer(
    train: Rows,
    validation: Rows,
    tokenizer: Any,
    callbacks: list[Any],
    *,
    base: BaseModelSpec,
    training: TrainingSpec,
    reward: RewardSpec,
    seed: int,
    device: Device,
    folder: Path,
) -> Any:
    """Builds TRL's trainer of tokenised pairs, its model loaded with a scalar head and a fresh adapter."""
    from trl.trainer.reward_config import RewardConfig
    from trl.trainer.reward_trainer import RewardTrainer

    model = load_trainable(base, training, device, scalar_head=True)
    arguments = reward_arguments(
        base, training, reward, device=device, parameters=model.num_parameters(), rows=train.count,
        validate=validation.table is not None, seed=seed, folder=folder,
    )  # fmt: skip
    return RewardTrainer(
        model=model,
        args=on_one_card(RewardConfig(**arguments)),
        train_dataset=train.table,
        eval_dataset=validation.table,
        processing_class=tokenizer,
        peft_config=lora_config(training, "SEQ_CLS"),
        callbacks=callbacks,
    )


def measure_margins(model: Any, pairs: Rows, tokenizer: Any, max_length: int) -> list[float]:
    """The margin of every pair by the model in training, read as it will be read later (`RewardModel`)."""
    if pairs.table is None:
        return []
    head = model.get_base_model().score.modules_to_save["default"].weight
    judge = RewardModel(model, "default", head.detach(), tokenizer, max_length)
    scores = judge.score_rows([*pairs.table["chosen_ids"], *pairs.table["rejected_ids"]])
    return [chosen - rejected for chosen, rejected in zip(scores[: pairs.count], scores[pairs.count :], strict=True)]


def _list_lengths(pairs: Rows) -> list[tuple[int, int]]:
    """Tokens of both sides, prompt included, which is the same on both."""
    if pairs.table is None:
        return []
    return [(len(a), len(b)) for a, b in zip(pairs.table["chosen_ids"], pairs.table["rejected_ids"], strict=True)]
