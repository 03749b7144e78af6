"""GRPO: the policy answers a prompt several times, the reward model judges, and what was better than its group grows.

Shao et al. 2024, arXiv:2402.03300 (equations 3 and 4), through TRL's GRPOTrainer, from the SFT adapter on and held to
it by a KL term. One base serves all: the trained adapter, TRL's frozen copy of it named `ref`, and the reward model
are adapters of the same weights. Departs from TRL's defaults: completions come from transformers (no vLLM); prompts are
dealt out for all epochs beforehand, because TRL's sampler starts its order anew when a training is gone on with. The
loss is TRL's, `dapo`: the paper's own prefers short answers among the good and long ones among the bad.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from flytewheel.dataset import Dataset
from flytewheel.errors import DatasetError, RecipeError
from flytewheel.models import Device, load_tokenizer
from flytewheel.recipe import BaseModelSpec, RlhfSpec, TrainingSpec
from flytewheel.records import Interval, Message, SftRow, to_jsonable
from flytewheel.reward_model import RewardModel, join_reward_model
from flytewheel.training.arguments import grpo_arguments, load_trainable, lora_config
from flytewheel.training.fit import Plan
from flytewheel.training.micro_batch import MicroBatch, of_spec
from flytewheel.training.processes import on_one_card
from flytewheel.training.redaction import Looked, RedactTexts, look_again
from flytewheel.training.rows import Rows, thin
from flytewheel.training.start import attach_start

Prompt = tuple[Message, ...]
_Z95 = 1.959963984540054
_BATCH = 16


def look_at_prompts(data: Dataset, rlhf: RlhfSpec, redact: RedactTexts | None) -> Looked[SftRow]:
    """The distinct prompts of SFT rows and trajectories, looked at once more; held-out ones thinned."""
    train, held_out = (_list_prompts(data, part) for part in ("train", "validation"))
    return look_again(train, thin(held_out, rlhf.grpo.measured_prompts), data.card, redact)


def _list_prompts(data: Dataset, part: str) -> list[SftRow]:
    """As rows without an answer, so that they are looked at as all others are."""
    found: dict[Prompt, SftRow] = {}
    for row in data.sft(part):
        if row.source != "canary":  # nothing to be rewarded for
            found.setdefault(row.prompt, row)
    for session in data.trajectories(part):
        for turn, message in enumerate(session.messages):
            prompt = session.messages[:turn]
            if message.role == "assistant" and prompt:
                found.setdefault(
                    prompt, SftRow(f"{session.id}/{turn}", session.user, session.topic, prompt, "", 0.0, 0.0, "answer")
                )
    return [SftRow(row.id, row.user, row.topic, prompt, "", 0.0, 0.0, row.source) for prompt, row in found.items()]


def plan_grpo(
    reason: str,
    data: Dataset,
    rows: Looked[SftRow],
    sft_adapter: Path | None,
    reward_model: Path,
    folder: Path,
    *,
    base: BaseModelSpec,
    training: TrainingSpec,
    rlhf: RlhfSpec,
    seed: int,
    device: Device,
) -> Plan:
    """What `fit` is to train; see `align.align`.

    Raises:
        DatasetError: no prompt leaves room for an answer.
        RecipeError: full weights are asked for.
    """
    tokenizer: Any = load_tokenizer(base)
    train, held_out = fit_prompts(data, rows, tokenizer, base=base, training=training, rlhf=rlhf)
    held: list[RewardModel] = []

    def make_trainer(callbacks: list[Any], batch: MicroBatch) -> Any:
        trainer, judge = make_grpo_trainer(
            train, tokenizer, callbacks, sft_adapter, reward_model,
            base=base, training=training, rlhf=batch.apply(rlhf), seed=seed, device=device, folder=folder,
        )  # fmt: skip
        held.append(judge)
        return trainer

    def measure(trainer: Any) -> dict[str, Any]:
        return measure_rewards(trainer, held[-1], held_out, rlhf, seed)

    return Plan(
        method="grpo",
        reason=reason,
        base=base,
        device=device,
        rows=len(train),
        truncated_rows=len(rows.train) - len(train),
        redacted_rows=rows.changed,
        keep_checkpoints=rlhf.keep_checkpoints,
        batch=of_spec(rlhf),
        make_trainer=make_trainer,
        measure=measure,
    )


def fit_prompts(
    data: Dataset,
    rows: Looked[SftRow],
    tokenizer: Any,
    *,
    base: BaseModelSpec,
    training: TrainingSpec,
    rlhf: RlhfSpec,
) -> tuple[list[Prompt], list[Prompt]]:
    """The prompts to train on and those held out, without those that leave no room for an answer.

    Raises:
        DatasetError: no prompt does.
        RecipeError: full weights are asked for.
    """
    if training.adapter == "full":
        raise RecipeError(
            "recipe",
            ["rlhf.method: 'grpo' trains an adapter beside its reward model; take training.adapter 'lora'"],
        )
    room = base.max_length - rlhf.grpo.max_answer_tokens
    train, held_out = (_keep_short(own, tokenizer, room) for own in (rows.train, rows.validation))
    if not train:
        raise DatasetError(
            f"{data.path}: expected prompts of at most {room} tokens (base.max_length less "
            f"rlhf.grpo.max_answer_tokens), found 0 of {len(rows.train)}; raise base.max_length"
        )
    return train, held_out


def make_grpo_trainer(
    prompts: Sequence[Prompt],
    tokenizer: Any,
    callbacks: list[Any],
    sft_adapter: Path | None,
    reward_model: Path,
    *,
    base: BaseModelSpec,
    training: TrainingSpec,
    rlhf: RlhfSpec,
    seed: int,
    device: Device,
    folder: Path,
) -> tuple[Any, RewardModel]:
    """Builds TRL's trainer on the SFT adapter (a fresh one where there is none), and the judge on the same base."""
    import transformers
    from peft import get_peft_model
    from trl.trainer.grpo_config import GRPOConfig
    from trl.trainer.grpo_trainer import GRPOTrainer

    model = load_trainable(base, training, device)
    steps = count_steps(len(prompts), rlhf)
    arguments = grpo_arguments(
        training, rlhf, device=device, parameters=model.num_parameters(), steps=steps, seed=seed, folder=folder
    )
    transformers.set_seed(seed)
    if sft_adapter is not None:
        model = attach_start(model, sft_adapter, base)
    else:
        model = get_peft_model(model, lora_config(training))
    judge = join_reward_model(model, base, reward_model, tokenizer)

    def reward(prompts: list[Any], completions: list[Any], **_: Any) -> list[float]:
        asked = [tuple(Message(**turn) for turn in prompt) for prompt in prompts]
        return judge.score(asked, [completion[0]["content"] for completion in completions])

    trainer = GRPOTrainer(
        model=model,
        args=on_one_card(GRPOConfig(**arguments)),
        reward_funcs=[reward],
        train_dataset=prompt_rows(prompts, steps * _prompts_a_step(rlhf), seed).table,
        processing_class=tokenizer,
        callbacks=callbacks,
    )
    return trainer, judge


def count_steps(prompts: int, rlhf: RlhfSpec) -> int:
    """Optimiser steps: `rlhf.max_steps`, else as many as ask every prompt `rlhf.epochs` times."""
    return rlhf.max_steps or max(1, math.ceil(prompts * rlhf.epochs / _prompts_a_step(rlhf)))


def prompt_rows(prompts: Sequence[Prompt], count: int, seed: int) -> Rows:
    """`count` prompts in the order in which they are asked: all of them, shuffled anew by `seed` each time round."""
    from datasets import Dataset as Table

    chance = random.Random(seed)
    order: list[Prompt] = []
    while len(order) < count:
        order += chance.sample(list(prompts), len(prompts))
    records = [{"prompt": [message.model_dump() for message in prompt]} for prompt in order[:count]]
    return Rows(Table.from_list(records), count, 0)


def measure_rewards(
    trainer: Any, judge: RewardModel, prompts: Sequence[Prompt], rlhf: RlhfSpec, seed: int
) -> dict[str, Any]:
    """Mean reward of one sampled answer to each held-out prompt, before (`ref`) and after, drawn with the same seeds.

    Returns:
        `prompts`, `reward_start`, `reward_end`, `reward_gain` (the mean paired difference with its normal 95 %
        interval), and `kl`: TRL's estimate at the last logged step, in nats a token. Without prompts, a `note`.
    """
    kl = [entry["kl"] for entry in trainer.state.log_history if "kl" in entry]
    found: dict[str, Any] = {"prompts": len(prompts), "kl": kl[-1] if kl else None}
    if not prompts:
        return {**found, "note": "0 held-out prompts: the gain in reward cannot be told"}
    start, end = (
        judge.score(prompts, sample_answers(trainer.model, name, judge.tokenizer, prompts, rlhf, seed))
        for name in ("ref", "default")
    )
    gains = [after - before for before, after in zip(start, end, strict=True)]
    return {
        **found,
        "reward_start": math.fsum(start) / len(start),
        "reward_end": math.fsum(end) / len(end),
        "reward_gain": to_jsonable(_mean_interval(gains)),
    }


def sample_answers(
    model: Any, adapter: str, tokenizer: Any, prompts: Sequence[Prompt], rlhf: RlhfSpec, seed: int
) -> list[str]:
    """One sampled answer to each prompt with the adapter named; the same seed gives the same draws."""
    import torch

    rows = [_render_prompt(tokenizer, prompt) for prompt in prompts]
    answers: list[str] = []
    with _generating(model, adapter), torch.random.fork_rng(devices=_gpus(model)), torch.no_grad():
        torch.manual_seed(seed)
        for start in range(0, len(rows), _BATCH):
            some = rows[start : start + _BATCH]
            longest = max(map(len, some))
            padding = [longest - len(row) for row in some]
            ids = torch.tensor([[tokenizer.pad_token_id] * pad + row for pad, row in zip(padding, some, strict=True)])
            mask = torch.tensor([[0] * pad + [1] * (longest - pad) for pad in padding])
            made = model.generate(
                input_ids=ids.to(model.device),
                attention_mask=mask.to(model.device),
                do_sample=True,
                temperature=rlhf.grpo.temperature,
                top_k=0,
                max_new_tokens=rlhf.grpo.max_answer_tokens,
                pad_token_id=tokenizer.pad_token_id,
                eos_token_id=tokenizer.eos_token_id,
            )
            answers += tokenizer.batch_decode(made[:, longest:], skip_special_tokens=True)
    return answers


@contextmanager
def _generating(model: Any, adapter: str) -> Iterator[None]:
    before, training = model.active_adapter, model.training
    model.eval()
    model.set_adapter(adapter, inference_mode=True)
    try:
        yield
    finally:
        model.set_adapter(before)
        model.train(training)


def _gpus(model: Any) -> list[Any]:
    return [model.device] if model.device.type == "cuda" else []


def _keep_short(rows: Sequence[SftRow], tokenizer: Any, room: int) -> list[Prompt]:
    return [row.prompt for row in rows if len(_render_prompt(tokenizer, row.prompt)) <= room]


def _render_prompt(tokenizer: Any, prompt: Prompt) -> list[int]:
    turns = [message.model_dump() for message in prompt]
    return list(
        tokenizer.apply_chat_template(turns, add_generation_prompt=True, tokenize=True, return_dict=True)["input_ids"]
    )


def _prompts_a_step(rlhf: RlhfSpec) -> int:
    return rlhf.batch_size * rlhf.gradient_accumulation // rlhf.grpo.group_size


def _mean_interval(values: Sequence[float]) -> Interval:
    mean = math.fsum(values) / len(values)
    if len(values) < 2:
        return Interval(mean, None, None)
    spread = math.fsum((value - mean) ** 2 for value in values) / (len(values) - 1)
    half = _Z95 * math.sqrt(spread / len(values))
    return Interval(mean, mean - half, mean + half)
