"""What a recipe says of learning: the base model, supervised fine-tuning, alignment."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import Field, model_validator

from flytewheel.strict import AtLeastOne, Many, Number, Positive, Section, Share


class BaseModelSpec(Section):
    """The model that adapters are trained on."""

    model: str = Field(min_length=1, description="`pocket` (bundled), a hub id, or a folder")
    revision: str | None = Field(default=None, description="of a hub id: a commit of 40 digits; else it may move")
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    attention: Literal["auto", "eager", "sdpa", "flash_attention_2"] = "auto"
    max_length: int = Field(default=1024, ge=16, description="tokens of prompt and completion together")
    system_prompt: str | None = Field(default=None, description="opens every prompt that brings no system turn")


class TrainingSpec(Section):
    """Supervised fine-tuning. `adapter` is what the reference design calls `training.method`."""

    adapter: Literal["lora", "qlora", "full"] = "lora"
    lora_rank: AtLeastOne = 16
    lora_alpha: AtLeastOne = 32
    lora_dropout: Share = 0.05
    target_modules: Many[str] = ("q_proj", "k_proj", "v_proj", "o_proj")
    learning_rate: Positive = 2e-4
    epochs: Positive = 3.0
    max_steps: AtLeastOne | None = Field(default=None, description="stops earlier than `epochs` when set")
    batch_size: AtLeastOne = 4
    gradient_accumulation: AtLeastOne = 4
    packing: Literal["auto"] | bool = Field(
        default="auto",
        description="several rows in one sequence, each attending to itself; `auto`: as the device's profile says",
    )
    warmup_ratio: Share = 0.1
    weight_decay: Annotated[Number, Field(ge=0)] = 0.01
    lr_scheduler: Literal["linear", "cosine", "constant", "constant_with_warmup"] = "cosine"
    max_grad_norm: Positive = 1.0
    checkpoint_every: Literal["epoch"] | AtLeastOne = Field(
        default="epoch", description="`epoch`, or a number of steps"
    )
    keep_checkpoints: AtLeastOne = 3


class RlhfSpec(Section):
    """Alignment to preferences after SFT. PPO is not offered: TRL no longer ships it; `grpo` scores trajectories
    instead.
    """

    enable: bool = True
    method: Literal["dpo", "kto", "orpo", "grpo"] = "dpo"
    fallback: Literal["kto", "skip"] = Field(default="kto", description="what to do with too few preference pairs")
    beta: Positive = 0.1
    loss: Many[Literal["sigmoid", "ipo", "hinge", "sft"]] = ("sigmoid",)
    learning_rate: Positive = Field(default=5e-6, description="for LoRA, as TRL advises; full weights take 5e-7")
    epochs: Positive = 1.0
    max_steps: AtLeastOne | None = None
    batch_size: AtLeastOne = 4
    gradient_accumulation: AtLeastOne = 4
    warmup_ratio: Share = 0.1
    min_preference_pairs: AtLeastOne = 500
    min_unpaired: AtLeastOne = 100
    min_chosen_quality: Share = 0.7
    checkpoint_every: Literal["epoch"] | AtLeastOne = "epoch"
    keep_checkpoints: AtLeastOne = 3

    @model_validator(mode="before")
    @classmethod
    def _explain_ppo(cls, data: object) -> object:
        if isinstance(data, Mapping) and data.get("method") == "ppo":
            raise ValueError("method 'ppo' is not offered (TRL no longer ships it); take 'grpo', or 'dpo' for pairs")
        return data
