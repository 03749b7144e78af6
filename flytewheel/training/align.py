"""Alignment to preferences, from the SFT adapter on: DPO or ORPO on pairs, KTO on single thumbs, GRPO on its own
answers, which a reward model judges (`grpo`), or nothing, said in words.

DPO: Rafailov et al. 2023, arXiv:2305.18290; KTO: Ethayarajh et al. 2024, arXiv:2402.01306; ORPO, which has no
reference: Hong et al. 2024, arXiv:2403.07691. The reference is the SFT policy (the bare base when there was no SFT);
its log-probabilities are kept by content (`reference`), so there is no second copy of the base and none of the adapter,
nor of full weights. `rlhf.loss` may add `sft` to DPO's loss: on a small model sigmoid alone wrecked generation. Weeks
with too few pairs are ordinary: `rlhf.fallback` decides, and the SFT adapter is handed on unchanged where nothing can
be learnt.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from flytewheel.dataset import Dataset, digest_content
from flytewheel.errors import BaseModelError, DatasetError
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
from flytewheel.training.fit import Plan, digest_adapter, fit, summarise
from flytewheel.training.full import check_start
from flytewheel.training.grpo import look_at_prompts, plan_grpo
from flytewheel.training.memory import fit_memory
from flytewheel.training.micro_batch import MicroBatch, of_spec
from flytewheel.training.preference import make_preference_trainer
from flytewheel.training.processes import join_processes
from flytewheel.training.redaction import Looked, RedactTexts, look_again
from flytewheel.training.reference import reference_key
from flytewheel.training.reference_store import ReferenceStore
from flytewheel.training.report import TrainingReport, read_report, write_report
from flytewheel.training.rows import Rows, preference_rows, thin, unpaired_rows
from flytewheel.training.start import Start
from flytewheel.training.takeback import Bar
from flytewheel.training.truncation import describe_truncation
from flytewheel.training.workplace import Workplace

__all__ = ["CODE_VERSION", "align", "choose_method"]


@dataclass(frozen=True, slots=True)
class Choice:
    """The method taken, and the reason in words."""

    method: Literal["dpo", "kto", "orpo", "grpo", "skipped"]
    reason: str


def choose_method(
    rlhf: RlhfSpec, pairs: int, liked: int, disliked: int, *, judge: bool = False, no_judge: str = "not given"
) -> Choice:
    """Chooses the method by what there is to learn from.

    Args:
        rlhf: The recipe's wishes and thresholds.
        pairs: Training pairs.
        liked: Unpaired training rows with a thumb up.
        disliked: Unpaired training rows with a thumb down.
        judge: Whether there is a reward model, without which `grpo` cannot learn.
        no_judge: Why there is none.
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
    if rlhf.method == "grpo":
        if judge:
            return Choice("grpo", "a reward model judges: grpo as rlhf.method says")
        have_pairs = f"no reward model ({no_judge})"
    elif pairs >= rlhf.min_preference_pairs:
        method: Literal["dpo", "orpo"] = "orpo" if rlhf.method == "orpo" else "dpo"
        return Choice(method, f"{have_pairs}: {method} as rlhf.method says")
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
    reward_model: Path | None = None,
    redact: RedactTexts | None = None,
    budget: BudgetSpec | None = None,
    start: Start | None = None,
) -> TrainingReport:
    """Aligns an adapter to the preferences in a data set.

    Args:
        dataset: Folder of a frozen data set.
        sft_adapter: Where to start, and the reference; None: a fresh adapter, with the bare base as the reference.
        out: Gets `adapter_config.json`, `adapter_model.safetensors` and `report.json`; the SFT adapter's own files when
            skipped; `config.json` and safetensors instead with `training.adapter: full`.
        base: The model under the adapter.
        training: Shape of a fresh adapter, weight decay, schedule.
        rlhf: How.
        seed: Decides a fresh adapter's weights and the order of rows.
        at: Where the training is at work.
        reward_model: Folder that `reward.train_reward` left, with a reward model or the reason why there is none.
        redact: Looks at the rows once more (`redaction`).
        budget: Time, of which SFT has taken its part, and memory that it may take.
        start: Where a small turn began. The alignment is taken back to the SFT adapter when its validation loss is
            above that one's by more than is tolerated (`takeback`); None: the last step is published.

    Raises:
        BaseModelError: base, adapter or reward model cannot be loaded.
        CheckpointError: an unfinished training would be left behind (`checkpoints`), or is at work.
        DatasetError: there is no data set, or there is nothing to learn and no adapter to hand on.
        RecipeError: method or adapter cannot be trained on this device, the base's dtype or attention is not for it, or
            memory would not suffice.
    """
    budget = budget or BudgetSpec()
    device = find_device()
    processes = join_processes(device)
    check_adapter(training, device)
    check_base(base, device)
    if sft_adapter is not None:
        check_start(sft_adapter, training)
    data = Dataset(dataset)
    pairs, thumbs = data.preferences("train"), data.unpaired("train")
    liked = sum(row.label for row in thumbs)
    judge, no_judge = _look_at_judge(reward_model)
    choice = choose_method(rlhf, len(pairs), liked, len(thumbs) - liked, judge=judge is not None, no_judge=no_judge)
    allowance = Allowance(budget.hours, before_s=_read_seconds(sft_adapter))
    if choice.method != "skipped" and sft_adapter is not None and allowance.is_spent(0.0):
        choice = Choice("skipped", f"budget.hours {budget.hours:g} was taken by SFT: skipped")
    if choice.method == "skipped":
        report = _hand_on(sft_adapter, out, choice, device)
        summarise(report, at.tracker)
        return report
    rows = _look_again(choice, data, rlhf, redact, start)
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
            **({"reward_model": digest_adapter(judge)} if judge is not None and choice.method == "grpo" else {}),
            **rows.name(),
            **({} if start is None else start.name()),
        },
        seed=seed,
        start=digest_adapter(sft_adapter) if sft_adapter is not None else None,
    )
    with open_checkpoints(at, manifest) as folder:
        finished = processes.tell(allowance.settled(folder))
        if finished is not None:
            report = finished
            summarise(report, at.tracker, folder)
        else:
            with quiet_libraries():
                if choice.method == "grpo" and judge is not None:
                    plan = plan_grpo(
                        choice.reason, data, rows, sft_adapter, judge, folder.folder,
                        base=base, training=training, rlhf=rlhf, seed=seed, device=device,
                    )  # fmt: skip
                else:
                    plan = _plan(
                        choice, data, rows, sft_adapter, folder.folder, base, training, rlhf, budget, device,
                        manifest, at,
                    )  # fmt: skip
                    if start is not None and sft_adapter is not None:
                        plan = replace(plan, bar=Bar(sft_adapter, start.tolerance))
                report = fit(plan, folder, at, base_digest=learnt_on, allowance=allowance)
        if processes.first:
            folder.publish(out)
        processes.wait()
    return report


def _look_at_judge(reward_model: Path | None) -> tuple[Path | None, str]:
    """The folder of a reward model if one lies there, and otherwise why not."""
    if reward_model is None:
        return None, "not given"
    report = read_report(reward_model / "report.json")
    return (None, report.reason) if report.method == "skipped" else (reward_model, "")


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
    device: Device,
    manifest: Manifest,
    at: Workplace,
) -> Plan:
    seed = manifest.seed
    tokenizer = load_tokenizer(base)
    train, validation = (_rows(choice, own, tokenizer, base.max_length, seed) for own in (rows.train, rows.validation))
    if train.table is None:
        raise DatasetError(
            f"{data.path}: expected rows that fit into base.max_length = {base.max_length} tokens, "
            f"all {train.truncated} are longer; raise base.max_length"
        )

    key = reference_key(
        base, training, tokenizer, device, base_digest=manifest.recipe["base_digest"], start=manifest.start
    )
    least = 2 if choice.method == "kto" else 1  # KTO's KL term comes from the neighbours in a batch
    batch, fitted = fit_memory(
        budget, of_spec(rlhf, least), choice.method, base=base, training=training, rows=train.count, device=device,
        longest=max(size.longest for size in train.sizes), answers=max(max(size.answers) for size in train.sizes),
        least=least,
    )  # fmt: skip

    def make_trainer(callbacks: list[Any], batch: MicroBatch) -> Any:
        return make_preference_trainer(
            choice.method, train, validation, tokenizer, callbacks, sft_adapter, batch,
            base=base, training=training, rlhf=rlhf, seed=seed, device=device, folder=folder,
            reference=ReferenceStore(at.reference, key), progress=at.progress,
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
        truncated_tokens=train.lost_tokens,
        least=least,
        fitted=fitted,
        truncation=describe_truncation(train, base.max_length, cut=False),
    )


def _look_again(
    choice: Choice, data: Dataset, rlhf: RlhfSpec, redact: RedactTexts | None, start: Start | None
) -> Looked[Any]:
    if choice.method == "grpo":
        return look_at_prompts(data, rlhf, redact)
    kind = "unpaired" if choice.method == "kto" else "preference"
    validation = thin(list(data.rows(kind, "validation")), MAX_VALIDATION_ROWS)
    if start is not None:
        validation = start.mix(kind, validation)
    return look_again(list(data.rows(kind, "train")), validation, data.card, redact)


def _rows(choice: Choice, rows: Sequence[Any], tokenizer: Any, max_length: int, seed: int) -> Rows:
    if choice.method == "kto":
        return unpaired_rows(rows, tokenizer, max_length, seed)
    return preference_rows(rows, tokenizer, max_length)
