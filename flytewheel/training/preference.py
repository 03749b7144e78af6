"""TRL's trainers of preferences, with the SFT adapter trainable and a frozen copy of it as the reference.

DPO: Rafailov et al. 2023, arXiv:2305.18290; KTO: Ethayarajh et al. 2024, arXiv:2402.01306.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from flytewheel.errors import BaseModelError
from flytewheel.models import Device, attach_adapter, locate_base
from flytewheel.recipe import BaseModelSpec, RlhfSpec, TrainingSpec
from flytewheel.training.arguments import load_trainable, lora_config, preference_arguments
from flytewheel.training.grouping import group_batches
from flytewheel.training.rows import Rows


def make_preference_trainer(
    method: str,
    train: Rows,
    validation: Rows,
    tokenizer: Any,
    callbacks: list[Any],
    sft_adapter: Path | None,
    *,
    base: BaseModelSpec,
    training: TrainingSpec,
    rlhf: RlhfSpec,
    seed: int,
    device: Device,
    folder: Path,
) -> Any:
    """Builds TRL's DPO or KTO trainer, its model loaded with the SFT adapter trainable and a frozen copy of it."""
    from trl.trainer.dpo_config import DPOConfig
    from trl.trainer.dpo_trainer import DPOTrainer
    from trl.trainer.kto_config import KTOConfig
    from trl.trainer.kto_trainer import KTOTrainer

    model = load_trainable(base, training, device)
    arguments = preference_arguments(
        base, training, rlhf, kto=method == "kto", device=device, parameters=model.num_parameters(), rows=train.count,
        validate=validation.table is not None, seed=seed, folder=folder,
    )  # fmt: skip
    fresh: dict[str, Any] = {"peft_config": lora_config(training)}
    if sft_adapter is not None:
        model = _load_sft_adapter(model, sft_adapter, base)
        fresh = {}
    common: dict[str, Any] = {
        "model": model,
        "ref_model": None,
        "train_dataset": train.table,
        "eval_dataset": validation.table,
        "processing_class": tokenizer,
        "callbacks": callbacks,
        **fresh,
    }
    if method == "kto":
        return KTOTrainer(args=KTOConfig(**arguments, **_weigh_labels(train)), **common)
    trainer = group_batches(DPOTrainer)(args=DPOConfig(**arguments), **common)
    trainer.train_lengths, trainer.eval_lengths = map(_count_tokens, (trainer.train_dataset, trainer.eval_dataset))
    return trainer


def _count_tokens(table: Any) -> list[int]:
    """Tokens of each pair's longer side: both are padded to it."""
    if table is None:
        return []
    sides = zip(table["prompt_ids"], table["chosen_ids"], table["rejected_ids"], strict=True)
    return [len(prompt) + max(len(a), len(b)) for prompt, a, b in sides]


def _load_sft_adapter(model: Any, adapter: Path, base: BaseModelSpec) -> Any:
    try:
        adapted = attach_adapter(model, adapter, trainable=True)
    except (ValueError, RuntimeError) as error:
        cause = " ".join(str(error).split())[:200]
        raise BaseModelError(f"{adapter}: does not fit base.model {base.model!r} ({cause}); train SFT again") from None
    # Published adapters name their base in the recipe's words; PEFT reads a config under this name at each checkpoint.
    adapted.peft_config["default"].base_model_name_or_path = locate_base(base)
    return adapted


def _weigh_labels(train: Rows) -> dict[str, Any]:
    """Weights that make both labels count the same: lambda_D n_D = lambda_U n_U, the lower end of KTO's equation 8."""
    liked = sum(train.table["label"])
    disliked = train.count - liked
    if liked >= disliked:
        return {"undesirable_weight": liked / max(disliked, 1), "desirable_weight": 1.0}
    return {"desirable_weight": disliked / max(liked, 1), "undesirable_weight": 1.0}
