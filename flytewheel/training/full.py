"""Training of all weights: what differs from an adapter when it starts, goes on and is published.

Weights, gradients and Adam's moments are float32, 16 bytes a parameter; products are taken in the profile's autocast.
What is published is the trained float32 values themselves, `config.json` and safetensors as `save_pretrained` shards
them, so that alignment starts from exactly what SFT ended with and rounding happens once, at export.

The reference of DPO and KTO is the SFT policy here too, and no second model is held for it: its log-probabilities are
taken before the first step, while the policy still is the reference (`preference`). A training that goes on from a
checkpoint is built on the SFT weights again, and only then loads the checkpoint.

Learning rates are not LoRA's: about a tenth of it for SFT, 5e-7 for DPO.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from flytewheel.errors import BaseModelError, CheckpointError
from flytewheel.models import Device, load_full, trained_kind
from flytewheel.recipe import BaseModelSpec, TrainingSpec
from flytewheel.training.arguments import load_trainable
from flytewheel.weights import list_shards

_WORDS = {"adapter": "a LoRA adapter", "full": "full weights"}


def check_start(folder: Path, training: TrainingSpec) -> None:
    """Refuses to start from what the recipe does not train.

    Raises:
        BaseModelError: an adapter where full weights are trained, full weights where an adapter is, or neither.
    """
    found, wanted = trained_kind(folder), "full" if training.adapter == "full" else "adapter"
    if found != wanted:
        raise BaseModelError(
            f"{folder}: holds {_WORDS[found]}, training.adapter: {training.adapter!r} goes on from {_WORDS[wanted]}; "
            "train SFT again with this recipe"
        )


def load_policy(start: Path | None, base: BaseModelSpec, training: TrainingSpec, device: Device) -> Any:
    """Loads the weights to train: those in `start`, or the base's where there was no SFT, in float32."""
    if start is None:
        return load_trainable(base, training, device)
    return load_full(base, start, dtype="float32", device=device.kind)


def is_full(model: Any) -> bool:
    """Whether all weights of a trainer's model are trained, not those of an adapter on it."""
    return not hasattr(model, "peft_config")


def save_full(model: Any, folder: Path) -> None:
    """Writes configuration and weights into `folder`; both say nothing of this machine."""
    model.save_pretrained(str(folder))


def reload_full(model: Any, checkpoint: Path) -> None:
    """Puts a checkpoint's weights into `model`.

    Raises:
        CheckpointError: the checkpoint holds tensors that the model does not have, or none.
    """
    from safetensors.torch import load_file

    missing: set[str] = set()
    for number, shard in enumerate(list_shards(checkpoint)):
        result = model.load_state_dict(load_file(checkpoint / shard), strict=False)
        missing = set(result.missing_keys) if number == 0 else missing & set(result.missing_keys)
        if result.unexpected_keys:
            raise CheckpointError(
                f"{checkpoint / shard}: {min(result.unexpected_keys)} is no weight of this model; "
                f"remove {checkpoint} to go on from an older checkpoint"
            )
    missing -= set(getattr(model, "all_tied_weights_keys", {}))  # written once, under the other name
    if missing:
        raise CheckpointError(f"{checkpoint}: {min(missing)} is missing; remove it to go on from an older checkpoint")
