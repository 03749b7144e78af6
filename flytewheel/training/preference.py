"""TRL's trainers of preferences, the SFT adapter trainable, the reference's log-probabilities given as columns.

DPO: Rafailov et al. 2023, arXiv:2305.18290; KTO: Ethayarajh et al. 2024, arXiv:2402.01306; ORPO, which needs no
reference: `orpo`.

TRL clones a given adapter into a frozen one named `ref` and, with `precompute_ref_log_probs`, keeps what it computes in
the data set's cache, by a fingerprint of the whole table. Here that one method is ours (`reference`): rows are known
one by one, across tables and runs, and the clone is removed before the optimiser exists. Full weights get no second
copy either: their reference is taken while they still are the reference. KTO's mismatched answers, of which its KL term
is made, are a column of the table as well (each batch's answers, turned by one): they are cached like all others, but
only the same rows in the same order and batches meet them again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from flytewheel.models import Device
from flytewheel.progress import ProgressCallback
from flytewheel.recipe import BaseModelSpec, RlhfSpec, TrainingSpec
from flytewheel.training.acceleration import accelerate
from flytewheel.training.arguments import load_trainable, lora_config, preference_arguments
from flytewheel.training.full import load_policy
from flytewheel.training.grouping import group_batches
from flytewheel.training.head import head_at_answers
from flytewheel.training.micro_batch import MicroBatch, of_spec
from flytewheel.training.orpo import make_orpo_trainer
from flytewheel.training.processes import on_one_card
from flytewheel.training.reference import ReferenceUse, add_reference, column_answers, reference_logps
from flytewheel.training.reference_store import ReferenceStore
from flytewheel.training.rows import Rows
from flytewheel.training.start import attach_start

# What TRL's losses read, and the column of token ids that each is the reference's log-probability of.
_DPO_COLUMNS = {"ref_chosen_logps": "chosen_ids", "ref_rejected_logps": "rejected_ids"}
_KTO_COLUMNS = {"ref_logps": "completion_ids", "ref_KL_logps": "KL_completion_ids"}


def make_preference_trainer(
    method: str,
    train: Rows,
    validation: Rows,
    tokenizer: Any,
    callbacks: list[Any],
    sft_adapter: Path | None,
    batch: MicroBatch | None = None,
    *,
    base: BaseModelSpec,
    training: TrainingSpec,
    rlhf: RlhfSpec,
    seed: int,
    device: Device,
    folder: Path,
    reference: ReferenceStore | None = None,
    progress: ProgressCallback | None = None,
    load: Callable[..., Any] = load_trainable,
) -> Any:
    """Builds TRL's DPO, KTO or ORPO trainer, its model loaded (by `load`) with the SFT adapter trainable.

    Its `reference_use`, where there is one, says how many of the reference's log-probabilities were in `reference`
    already.
    """
    from trl.trainer.dpo_config import DPOConfig
    from trl.trainer.dpo_trainer import DPOTrainer
    from trl.trainer.kto_config import KTOConfig
    from trl.trainer.kto_trainer import KTOTrainer

    full = training.adapter == "full"
    model = load_policy(sft_adapter, base, training, device) if full else load(base, training, device)
    arguments = preference_arguments(
        base, training, (batch or of_spec(rlhf)).apply(rlhf), kto=method == "kto", device=device,
        parameters=model.num_parameters(), rows=train.count, validate=validation.table is not None, seed=seed,
        folder=folder,
    )  # fmt: skip
    fresh: dict[str, Any] = {"peft_config": lora_config(training)}
    if sft_adapter is not None and not full:
        model = attach_start(model, sft_adapter, base)
        fresh = {}
    if method == "orpo":
        del arguments["loss_type"]
        odds = make_orpo_trainer(
            arguments, train.table, validation.table, tokenizer, model=model, callbacks=callbacks, **fresh
        )
        odds.group_rows = rlhf.batch_size
        return odds
    common: dict[str, Any] = {
        "model": model,
        "ref_model": None,
        "train_dataset": train.table,
        "eval_dataset": validation.table,
        "processing_class": tokenizer,
        "callbacks": callbacks,
        **fresh,
    }
    reference = reference or ReferenceStore(None, {})
    arguments["precompute_ref_log_probs"] = True  # by `with_reference`; ORPO has no reference
    if method == "kto":
        unpaired = with_reference(KTOTrainer, _KTO_COLUMNS, reference, progress)
        return unpaired(args=on_one_card(KTOConfig(**arguments, **_weigh_labels(train))), **common)
    grouped = with_reference(group_batches(DPOTrainer), _DPO_COLUMNS, reference, progress)
    trainer = grouped(args=on_one_card(DPOConfig(**arguments)), **common)
    trainer.group_rows = rlhf.batch_size
    trainer.train_lengths, trainer.eval_lengths = map(count_tokens, (trainer.train_dataset, trainer.eval_dataset))
    accelerate(trainer, device, tokens=2 * arguments["per_device_train_batch_size"] * max(trainer.train_lengths))
    return trainer


def with_reference(
    trainer_class: Any, columns: Mapping[str, str], store: ReferenceStore, progress: ProgressCallback | None = None
) -> Any:
    """Derives a trainer that takes the reference's log-probabilities from `store`.

    Args:
        trainer_class: TRL's, whose `_precompute_ref_logps` adds columns to a tokenised table.
        columns: By column to add, the column of token ids that it is about.
        store: Where values are looked up, and kept once computed.
        progress: Is told of `reference`.
    """

    class WithReference(trainer_class):  # type: ignore[misc,unused-ignore]
        """As TRL's, without a frozen copy of the adapter and without forward passes of the reference in its steps."""

        reference_use = ReferenceUse()

        def compute_loss(self, *inputs: Any, **options: Any) -> Any:
            with head_at_answers():
                return super().compute_loss(*inputs, **options)

        def _precompute_ref_logps(self, dataset: Any, name: str, batch_size: int) -> Any:
            from accelerate.utils import gather_object

            if "ref" in getattr(self.model, "peft_config", {}):
                self.model.delete_adapter("ref")
            answers = {column: column_answers(dataset, ids, self.args.max_length) for column, ids in columns.items()}
            processes = self.accelerator.num_processes
            values, use = reference_logps(
                self.model, [answer for own in answers.values() for answer in own], store,
                autocast=self.accelerator.autocast, progress=progress,
                share=(self.accelerator.process_index, processes),
            )  # fmt: skip
            if processes > 1:
                values = {answer: logp for part in gather_object([values]) for answer, logp in part.items()}
            self.reference_use = self.reference_use + use
            return add_reference(dataset, values, answers)

    return WithReference


def count_tokens(table: Any) -> list[int]:
    """Tokens of each pair's longer side: both are padded to it."""
    if table is None:
        return []
    sides = zip(table["prompt_ids"], table["chosen_ids"], table["rejected_ids"], strict=True)
    return [len(prompt) + max(len(a), len(b)) for prompt, a, b in sides]


def _weigh_labels(train: Rows) -> dict[str, Any]:
    """Weights that make both labels count the same: lambda_D n_D = lambda_U n_U, the lower end of KTO's equation 8."""
    liked = sum(train.table["label"])
    disliked = train.count - liked
    if liked >= disliked:
        return {"undesirable_weight": liked / max(disliked, 1), "desirable_weight": 1.0}
    return {"desirable_weight": disliked / max(liked, 1), "undesirable_weight": 1.0}
