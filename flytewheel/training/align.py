"""Alignment to preferences, from the SFT adapter on: DPO on pairs, KTO on single thumbs, or nothing, said in words.

DPO: Rafailov et al. 2023, arXiv:2305.18290; KTO: Ethayarajh et al. 2024, arXiv:2402.01306. The reference is the SFT
policy: TRL clones the adapter into a frozen one named `ref` beside the trained one (the bare base when there was no
SFT), never a second copy of the base. `rlhf.loss` may add `sft` to DPO's loss: on a small model sigmoid alone wrecked
generation. Weeks with too few pairs are ordinary: `rlhf.fallback` decides, and the SFT adapter is handed on unchanged
where nothing can be learnt.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from flytewheel.dataset import Dataset, digest_content
from flytewheel.errors import BaseModelError, DatasetError, RecipeError
from flytewheel.models import Device, base_digest, find_device, load_tokenizer
from flytewheel.progress import quiet_libraries
from flytewheel.recipe import BaseModelSpec, BudgetSpec, RlhfSpec, TrainingSpec
from flytewheel.training.allowance import Allowance
from flytewheel.training.arguments import (
    MAX_VALIDATION_ROWS,
    check_adapter,
    check_base,
)
from flytewheel.training.checkpoints import CODE_VERSION, Manifest, open_checkpoints, publish_folder
from flytewheel.training.fit import ADAPTER_FILES, Plan, digest_adapter, fit, summarise
from flytewheel.training.lengths import longest_sequence
from flytewheel.training.memory import fit_memory
from flytewheel.training.micro_batch import MicroBatch, of_spec
from flytewheel.training.preference import make_preference_trainer
from flytewheel.training.redaction import Looked, RedactTexts, look_again
from flytewheel.training.report import TrainingReport, read_report, write_report
from flytewheel.training.rows import Rows, preference_rows, thin, unpaired_rows
from flytewheel.training.workplace import Workplace

__all__ = ["CODE_VERSION", "align", "check_method", "choose_method"]


@dataclass(frozen=True, slots=True)
class Choice:
    """The method taken, and the reason in words."""

    method: Literal["dpo", "kto", "skipped"]
    reason: str


def check_method(rlhf: RlhfSpec) -> None:
    """Refuses a method that cannot be trained yet; call it before SFT, to fail early.

    Raises:
        RecipeError: `orpo` or `grpo`.
    """
    if rlhf.enable and rlhf.method not in ("dpo", "kto"):
        raise RecipeError("recipe", [f"rlhf.method: {rlhf.method!r} cannot be trained; take 'dpo' or 'kto'"])


def choose_method(rlhf: RlhfSpec, pairs: int, liked: int, disliked: int) -> Choice:
    """Chooses the method by what there is to learn from.

    Args:
        rlhf: The recipe's wishes and thresholds.
        pairs: Training pairs.
        liked: Unpaired training rows with a thumb up.
        disliked: Unpaired training rows with a thumb down.
    """
    if not rlhf.enable:
        return Choice("skipped", "rlhf.enable is false: skipped")
    unpaired = liked + disliked
    have_pairs = f"{pairs} of {rlhf.min_preference_pairs} pairs"
    have_unpaired = f"{unpaired} of {rlhf.min_unpaired} unpaired"
    if unpaired >= rlhf.min_unpaired and not (liked and disliked):
        have_unpaired += f" (all {'liked' if liked else 'disliked'})"
    enough_unpaired = unpaired >= rlhf.min_unpaired and liked > 0 and disliked > 0
    if rlhf.method == "kto":
        if enough_unpaired:
            return Choice("kto", f"{have_unpaired}: kto as rlhf.method says")
        return Choice("skipped", f"{have_unpaired}: skipped, kto has too little to learn from")
    if pairs >= rlhf.min_preference_pairs:
        return Choice("dpo", f"{have_pairs}: dpo as rlhf.method says")
    if rlhf.fallback == "kto" and enough_unpaired:
        return Choice("kto", f"{have_pairs}, {have_unpaired}: kto as rlhf.fallback says")
    if rlhf.fallback == "kto":
        return Choice("skipped", f"{have_pairs}, {have_unpaired}: skipped, rlhf.fallback 'kto' has too little as well")
    return Choice("skipped", f"{have_pairs}, {have_unpaired}: skipped as rlhf.fallback says")


def align(
    dataset: Path,
    sft_adapter: Path | None,
    out: Path,
    *,
    base: BaseModelSpec,
    training: TrainingSpec,
    rlhf: RlhfSpec,
    seed: int,
    at: Workplace,
    redact: RedactTexts | None = None,
    budget: BudgetSpec | None = None,
) -> TrainingReport:
    """Aligns an adapter to the preferences in a data set.

    Args:
        dataset: Folder of a frozen data set.
        sft_adapter: Where to start, and the reference; None: a fresh adapter, with the bare base as the reference.
        out: Gets `adapter_config.json`, `adapter_model.safetensors` and `report.json`; the SFT adapter's own files when
            skipped.
        base: The model under the adapter.
        training: Shape of a fresh adapter, weight decay, schedule.
        rlhf: How.
        seed: Decides a fresh adapter's weights and the order of rows.
        at: Where the training is at work.
        redact: Looks at the rows once more (`redaction`).
        budget: Time, of which SFT has taken its part, and memory that it may take.

    Raises:
        BaseModelError: base or adapter cannot be loaded.
        CheckpointError: the checkpoint directory belongs to another training.
        DatasetError: there is no data set, or there is nothing to learn and no adapter to hand on.
        RecipeError: method or adapter cannot be trained on this device, the base's dtype or attention is not for it, or
            memory would not suffice.
    """
    budget = budget or BudgetSpec()
    device = find_device()
    check_method(rlhf)
    check_adapter(training, device)
    check_base(base, device)
    if sft_adapter is not None and not all((sft_adapter / name).is_file() for name in ADAPTER_FILES):
        raise BaseModelError(f"{sft_adapter}: expected an adapter ({' and '.join(ADAPTER_FILES)}); train SFT again")
    data = Dataset(dataset)
    pairs, thumbs = data.preferences("train"), data.unpaired("train")
    liked = sum(row.label for row in thumbs)
    choice = choose_method(rlhf, len(pairs), liked, len(thumbs) - liked)
    allowance = Allowance(budget.hours, before_s=_read_seconds(sft_adapter))
    if choice.method != "skipped" and sft_adapter is not None and allowance.is_spent(0.0):
        choice = Choice("skipped", f"budget.hours {budget.hours:g} was taken by SFT: skipped")
    if choice.method == "skipped":
        report = _hand_on(sft_adapter, out, choice, device)
        summarise(report, at.tracker)
        return report
    rows = _look_again(choice, data, redact)
    learnt_on = base_digest(base)
    if sft_adapter is not None:
        _check_same_base(sft_adapter, base, learnt_on)
    manifest = Manifest(
        station="align",
        data=digest_content(dataset),
        recipe={
            "base": base.model_dump(mode="json"),
            "base_digest": learnt_on,
            "training": training.model_dump(mode="json"),
            "rlhf": rlhf.model_dump(mode="json"),
            **rows.name(),
        },
        seed=seed,
        start=digest_adapter(sft_adapter) if sft_adapter is not None else None,
    )
    with open_checkpoints(at.checkpoints, manifest) as folder:
        finished = allowance.settled(folder)
        if finished is not None:
            report = finished
            summarise(report, at.tracker)
        else:
            with quiet_libraries():
                plan = _plan(choice, data, rows, sft_adapter, folder.folder, base, training, rlhf, budget, seed, device)
                report = fit(plan, folder, at, base_digest=learnt_on, allowance=allowance)
        folder.publish(out)
    return report


def _hand_on(sft_adapter: Path | None, out: Path, choice: Choice, device: Device) -> TrainingReport:
    if sft_adapter is None:
        raise DatasetError(f"{choice.reason}, and there is no SFT adapter to hand on; collect more feedback")
    report = TrainingReport(
        method="skipped",
        reason=choice.reason,
        rows=0,
        steps=0,
        first_loss=None,
        last_loss=None,
        eval_loss=None,
        curve=(),
        device=str(device),
        seconds=0.0,
        resumed_from_step=0,
        truncated_rows=0,
        adapter_digest=digest_adapter(sft_adapter),
        base=_read_base(sft_adapter),
    )
    publish_folder(sft_adapter, out)
    write_report(out / "report.json", report)
    return report


def _read_base(adapter: Path) -> str:
    """The content of the base that an adapter was trained on; empty where no report lies beside it."""
    path = adapter / "report.json"
    return read_report(path).base if path.is_file() else ""


def _read_seconds(adapter: Path | None) -> float:
    """What the training of an adapter took, over all its attempts; 0 where no report lies beside it."""
    path = adapter / "report.json" if adapter is not None else None
    if path is None or not path.is_file():
        return 0.0
    report = read_report(path)
    return report.total_seconds or report.seconds  # the sum is not in earlier reports


def _check_same_base(adapter: Path, base: BaseModelSpec, found: str) -> None:
    trained_on = _read_base(adapter)
    if trained_on not in ("", found):
        raise BaseModelError(
            f"{adapter}: was trained on the base {trained_on[:12]}, base.model {base.model!r} is {found[:12]} now; "
            "pin base.revision, or train SFT again"
        )


def _plan(
    choice: Choice,
    data: Dataset,
    rows: Looked[Any],
    sft_adapter: Path | None,
    folder: Path,
    base: BaseModelSpec,
    training: TrainingSpec,
    rlhf: RlhfSpec,
    budget: BudgetSpec,
    seed: int,
    device: Device,
) -> Plan:
    tokenizer = load_tokenizer(base)
    train, validation = (_rows(choice, own, tokenizer, base.max_length, seed) for own in (rows.train, rows.validation))
    if train.table is None:
        raise DatasetError(
            f"{data.path}: expected rows that fit into base.max_length = {base.max_length} tokens, "
            f"all {train.truncated} are longer; raise base.max_length"
        )

    least = 2 if choice.method == "kto" else 1  # KTO's KL term comes from the neighbours in a batch
    batch, fitted = fit_memory(
        budget, of_spec(rlhf, least), choice.method, base=base, training=training, rows=train.count, device=device,
        longest=longest_sequence(rows.train, tokenizer, base.max_length), least=least,
    )  # fmt: skip

    def make_trainer(callbacks: list[Any], batch: MicroBatch) -> Any:
        return make_preference_trainer(
            choice.method, train, validation, tokenizer, callbacks, sft_adapter,
            base=base, training=training, rlhf=batch.apply(rlhf), seed=seed, device=device, folder=folder,
        )  # fmt: skip

    return Plan(
        method=choice.method,
        reason=choice.reason,
        base=base,
        device=device,
        rows=train.count,
        truncated_rows=train.truncated,
        redacted_rows=rows.changed,
        keep_checkpoints=rlhf.keep_checkpoints,
        batch=batch,
        make_trainer=make_trainer,
        least=least,
        fitted=fitted,
    )


def _look_again(choice: Choice, data: Dataset, redact: RedactTexts | None) -> Looked[Any]:
    if choice.method == "kto":
        thumbs = thin(data.unpaired("validation"), MAX_VALIDATION_ROWS)
        return look_again(data.unpaired("train"), thumbs, data.card, redact)
    pairs = thin(data.preferences("validation"), MAX_VALIDATION_ROWS)
    return look_again(data.preferences("train"), pairs, data.card, redact)


def _rows(choice: Choice, rows: Sequence[Any], tokenizer: Any, max_length: int, seed: int) -> Rows:
    if choice.method == "kto":
        return unpaired_rows(rows, tokenizer, max_length, seed)
    return preference_rows(rows, tokenizer, max_length)
