"""What a recipe says of learning: the base model, supervised fine-tuning, alignment."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal, Self

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

    adapter: Literal["lora", "qlora", "full"] = Field(
        default="lora", description="`full` trains all weights, in float32; take about a tenth of LoRA's rates for it"
    )
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
    nodes: AtLeastOne = Field(default=1, description="machines that train together; from 2 on a cluster only")
    gpus_per_node: AtLeastOne = Field(
        default=1, description="processes a machine, each with a GPU of its own (without any: on the CPU)"
    )

    @property
    def processes(self) -> int:
        """That train together; they share the rows of each step."""
        return self.nodes * self.gpus_per_node


class RewardSpec(Section):
    """The reward model: a scalar head and a LoRA adapter, learnt from preference pairs. Its shape, weight decay and
    schedule are those of `training`.
    """

    enable: Literal["auto"] | bool = Field(default="auto", description="`auto`: where rlhf.method needs one (grpo)")
    learning_rate: Positive = Field(default=1e-4, description="TRL's for a reward model with LoRA")
    epochs: Positive = Field(default=1.0, description="one, as InstructGPT: a second overfits (arXiv:2203.02155, C.2)")
    max_steps: AtLeastOne | None = None
    batch_size: AtLeastOne = 4
    gradient_accumulation: AtLeastOne = 4
    warmup_ratio: Share = 0.1
    min_pairs: AtLeastOne = Field(default=500, description="fewer training pairs give no reward model; as for dpo")
    checkpoint_every: Literal["epoch"] | AtLeastOne = "epoch"
    keep_checkpoints: AtLeastOne = 3


class GrpoSpec(Section):
    """What only `rlhf.method: grpo` reads. Defaults keep a group on one small device; the paper samples 64 answers of
    up to 1,024 tokens (arXiv:2402.03300, section 4.2).
    """

    group_size: int = Field(default=8, ge=2, description="answers to one prompt; the baseline is their mean reward")
    max_answer_tokens: AtLeastOne = Field(default=256, description="a longer answer is cut, and judged as it is then")
    temperature: Positive = Field(default=1.0, description="below 1 the gradient is of another policy than the trained")
    kl_weight: Positive = Field(default=0.04, description="of the divergence from the SFT policy, as in the paper")
    measured_prompts: AtLeastOne = Field(default=64, description="held-out prompts answered before and after")


class RlhfSpec(Section):
    """Alignment to preferences after SFT. PPO is not offered: TRL no longer ships it; `grpo` scores trajectories
    instead.
    """

    enable: bool = True
    method: Literal["dpo", "kto", "orpo", "grpo"] = "dpo"
    fallback: Literal["kto", "skip"] = Field(default="kto", description="what to do with too few preference pairs")
    beta: Positive = Field(default=0.1, description="of DPO and KTO; for ORPO its λ, the weight of the odds ratio")
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
    grpo: GrpoSpec = GrpoSpec()

    @model_validator(mode="after")
    def _groups_fill_a_step(self) -> Self:
        answers, group = self.batch_size * self.gradient_accumulation, self.grpo.group_size
        if self.enable and self.method == "grpo" and answers % group:
            raise ValueError(
                f"batch_size x gradient_accumulation is {answers} answers a step, not a multiple of "
                f"grpo.group_size {group}"
            )
        return self

    @model_validator(mode="before")
    @classmethod
    def _explain_ppo(cls, data: object) -> object:
        if isinstance(data, Mapping) and data.get("method") == "ppo":
            raise ValueError("method 'ppo' is not offered (TRL no longer ships it); take 'grpo', or 'dpo' for pairs")
        return data


class BudgetSpec(Section):
    """What the training of one turn may take; nothing is limited unless it is said. No part of what is learnt: a
    training that was stopped early goes on when there is more.
    """

    hours: Positive | None = Field(
        default=None, description="wall hours of SFT and alignment together; then training stops, its adapter is used"
    )
    memory_gb: Positive | None = Field(
        default=None,
        description="10⁹ bytes at the peak, of the card or else of the process: micro-batches are halved to fit",
    )
