"""From recipe and device to the arguments of a TRL trainer. What depends on the device is read from its profile
(`flytewheel.profiles`, one table); nothing here asks which device it is.

Gradient checkpointing starts at 1 G parameters, everywhere. All that TRL would set by itself (bf16, checkpointing) is
set here explicitly.
"""

from __future__ import annotations

import importlib.util
import math
from pathlib import Path
from typing import Any

from flytewheel.errors import RecipeError
from flytewheel.models import Device, load_model, load_weights
from flytewheel.recipe import BaseModelSpec, RewardSpec, RlhfSpec, TrainingSpec
from flytewheel.training.packing import Pace, pace_unpacked
from flytewheel.training.processes import divide_batch, find_processes

MAX_VALIDATION_ROWS = 256
CHECKPOINTING_FROM = 1_000_000_000  # parameters; below, activations are small beside the time that recomputing takes
_MAX_LOGGING_STEPS = 10
_LOGGED_POINTS = 50


def check_adapter(training: TrainingSpec, device: Device | None = None) -> None:
    """Refuses an adapter that cannot be trained on `device` (`None`: on any), before anything is loaded.

    Raises:
        RecipeError: `qlora` without CUDA or bitsandbytes.
    """
    if training.adapter != "qlora" or device is None:
        return
    if not device.profile.qlora.value:
        raise RecipeError("recipe", [f"training.adapter: 'qlora' needs a CUDA device, found {device}; take 'lora'"])
    if importlib.util.find_spec("bitsandbytes") is None:
        raise RecipeError(
            "recipe", ["training.adapter: 'qlora' needs the package bitsandbytes; install it, or take 'lora'"]
        )


def check_base(base: BaseModelSpec, device: Device) -> None:
    """Refuses what a recipe asks of the base model and `device` does not do well, before anything is loaded.

    Raises:
        RecipeError: `base.dtype` or `base.attention` is not among the profile's, or flash-attn is not installed.
    """
    faults = []
    for field, asked, offered in (
        ("dtype", base.dtype, device.profile.dtypes),
        ("attention", base.attention, device.profile.attentions),
    ):
        if asked != "auto" and asked not in offered.value:
            others = " or ".join(repr(value) for value in ("auto", *offered.value) if value != asked)
            faults.append(f"base.{field}: {asked!r} is not for {device}: {offered.reason}; take {others}")
    if not faults and base.attention == "flash_attention_2" and importlib.util.find_spec("flash_attn") is None:
        faults.append("base.attention: 'flash_attention_2' needs the package flash-attn; install it, or take 'sdpa'")
    if faults:
        raise RecipeError("recipe", faults)


def load_trainable(base: BaseModelSpec, training: TrainingSpec, device: Device, *, scalar_head: bool = False) -> Any:
    """Loads the base model to put an adapter on: on `device`, in 4 bits for `qlora`.

    For `full`, to be trained itself: in float32 whatever `base.dtype` says, as Adam's small steps would be rounded away
    in bfloat16's eight bits. Products are taken in the profile's autocast.
    """
    if training.adapter == "full":
        return load_model(base, dtype="float32", device=device.kind)
    if training.adapter != "qlora":
        return load_model(base, device=device.kind, scalar_head=scalar_head)
    import torch
    from transformers import BitsAndBytesConfig

    quantization: Any = BitsAndBytesConfig
    compute = getattr(torch, device.dtype)
    attention = {} if base.attention == "auto" else {"attn_implementation": base.attention}
    return load_weights(
        base,
        scalar_head=scalar_head,
        dtype=compute,
        device_map={"": 0},
        quantization_config=quantization(
            load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True, bnb_4bit_compute_dtype=compute
        ),
        **attention,
    )


def lora_config(training: TrainingSpec, task: str = "CAUSAL_LM") -> Any:
    """The LoRA configuration of `training`; `None` for full weights. For PEFT's task `SEQ_CLS` the scalar head is
    trained, too, and kept.
    """
    if training.adapter == "full":
        return None
    from peft import LoraConfig

    return LoraConfig(
        r=training.lora_rank,
        lora_alpha=training.lora_alpha,
        lora_dropout=training.lora_dropout,
        target_modules=list(training.target_modules),
        bias="none",
        task_type=task,
    )


def sft_arguments(
    base: BaseModelSpec,
    training: TrainingSpec,
    *,
    pace: Pace,
    device: Device,
    parameters: int,
    sequences: int,
    validate: bool,
    seed: int,
    folder: Path,
) -> dict[str, Any]:
    """Keyword arguments of `trl.SFTConfig` for `sequences` sequences of tokenised rows, taken at `pace`."""
    arguments = _arguments(
        training, training, pace, device=device, parameters=parameters, rows=sequences, validate=validate, seed=seed,
        folder=folder,
    )  # fmt: skip
    return {
        **arguments,
        "max_length": base.max_length,
        "packing": False,  # rows are packed before (`packing`), and told apart by `sequences.collate`
        "dataset_kwargs": {"skip_prepare_dataset": True},
        "remove_unused_columns": False,  # the collator picks what it needs
        "train_sampling_strategy": device.profile.sampling.value,
    }


def preference_arguments(
    base: BaseModelSpec,
    training: TrainingSpec,
    rlhf: RlhfSpec,
    *,
    kto: bool,
    device: Device,
    parameters: int,
    rows: int,
    validate: bool,
    seed: int,
    folder: Path,
) -> dict[str, Any]:
    """Keyword arguments of `trl.DPOConfig`, or of `trl.KTOConfig`, for `rows` rows."""
    arguments = _arguments(
        rlhf,
        training,
        pace_unpacked(rlhf),
        device=device,
        parameters=parameters,
        rows=rows,
        validate=validate,
        seed=seed,
        folder=folder,
    )
    arguments |= {
        "max_length": base.max_length,
        "beta": rlhf.beta,
        "disable_dropout": True,
    }
    if kto:
        # The KL term comes from neighbours in a batch: rows stay in order, and a batch has at least two.
        batch = max(2, arguments["per_device_train_batch_size"])
        return {
            **arguments,
            "train_sampling_strategy": "sequential",
            "per_device_train_batch_size": batch,
            "per_device_eval_batch_size": batch,
        }
    return {
        **arguments,
        "loss_type": list(rlhf.loss),
        "train_sampling_strategy": device.profile.sampling.value,
    }


def reward_arguments(
    base: BaseModelSpec,
    training: TrainingSpec,
    reward: RewardSpec,
    *,
    device: Device,
    parameters: int,
    rows: int,
    validate: bool,
    seed: int,
    folder: Path,
) -> dict[str, Any]:
    """Keyword arguments of `trl.RewardConfig` for `rows` tokenised pairs."""
    arguments = _arguments(
        reward,
        training,
        pace_unpacked(reward),
        device=device,
        parameters=parameters,
        rows=rows,
        validate=validate,
        seed=seed,
        folder=folder,
    )
    return {
        **arguments,
        "max_length": base.max_length,
        "disable_dropout": True,  # a reward is a measurement: the same pair must not be judged differently by chance
        "remove_unused_columns": False,  # `length` has to reach the sampler; the collator picks what it needs
        "train_sampling_strategy": device.profile.sampling.value,
    }


def grpo_arguments(
    training: TrainingSpec,
    rlhf: RlhfSpec,
    *,
    device: Device,
    parameters: int,
    steps: int,
    seed: int,
    folder: Path,
) -> dict[str, Any]:
    """Keyword arguments of `trl.GRPOConfig` for `steps` steps."""
    arguments = _arguments(
        rlhf,
        training,
        pace_unpacked(rlhf),
        device=device,
        parameters=parameters,
        rows=1,
        validate=False,
        seed=seed,
        folder=folder,
    )
    every = rlhf.checkpoint_every
    return {
        **arguments,
        "max_steps": steps,
        # Rows come repeated for all epochs (`grpo.prompt_rows`), so what counts as an epoch here is the whole training.
        "save_strategy": "steps",
        "save_steps": max(1, math.ceil(steps / math.ceil(rlhf.epochs))) if every == "epoch" else every,
        "logging_steps": max(1, min(_MAX_LOGGING_STEPS, steps // _LOGGED_POINTS)),
        "num_generations": rlhf.grpo.group_size,
        "max_completion_length": rlhf.grpo.max_answer_tokens,
        "temperature": rlhf.grpo.temperature,
        "beta": rlhf.grpo.kl_weight,
        "disable_dropout": True,
        "shuffle_dataset": False,
        "use_vllm": False,
    }


def _arguments(
    spec: TrainingSpec | RlhfSpec | RewardSpec,
    training: TrainingSpec,
    pace: Pace,
    *,
    device: Device,
    parameters: int,
    rows: int,
    validate: bool,
    seed: int,
    folder: Path,
) -> dict[str, Any]:
    per_epoch = math.ceil(math.ceil(rows / pace.batch_size) / pace.gradient_accumulation)
    steps = pace.max_steps or per_epoch * math.ceil(spec.epochs)
    every = spec.checkpoint_every
    batch_size, accumulation = divide_batch(pace.batch_size, pace.gradient_accumulation, find_processes().count)
    return {
        "output_dir": str(folder),
        "learning_rate": pace.learning_rate,
        "num_train_epochs": spec.epochs,
        "max_steps": pace.max_steps or -1,
        "per_device_train_batch_size": batch_size,
        "per_device_eval_batch_size": batch_size,  # what training holds, validation does
        "gradient_accumulation_steps": accumulation,
        "warmup_steps": min(spec.warmup_ratio, 0.999),  # below 1 it is a share of all steps
        "weight_decay": training.weight_decay,
        "lr_scheduler_type": training.lr_scheduler,
        "max_grad_norm": training.max_grad_norm,
        "bf16": device.profile.autocast.value == "bfloat16",
        "fp16": device.profile.autocast.value == "float16",
        "use_cpu": device.kind == "cpu",
        "activation_checkpointing": parameters >= CHECKPOINTING_FROM,
        "dataloader_num_workers": device.profile.workers.value,
        "dataloader_pin_memory": device.profile.pinned_memory.value,
        "logging_steps": max(1, min(_MAX_LOGGING_STEPS, steps // _LOGGED_POINTS)),
        "logging_first_step": True,
        "eval_strategy": "epoch" if validate else "no",
        "save_strategy": "epoch" if every == "epoch" else "steps",
        "save_steps": 500 if every == "epoch" else every,
        "save_total_limit": None,  # Checkpoints.mark removes the old ones, after the new one is complete
        "seed": seed,
        "data_seed": seed,
        "report_to": "none",
        "disable_tqdm": True,
        "push_to_hub": False,
    }
