"""Scores answers with a reward model: how much would the people who gave the feedback like this answer to this prompt?

A reward model is a LoRA adapter of the recipe's base with a scalar head (`training.reward` makes it). The score is the
head's value at the answer's end token, on the Bradley-Terry scale: of two answers to the same prompt the first is
preferred with probability sigmoid(r1 - r2) (Bradley & Terry 1952; Ouyang et al. 2022, arXiv:2203.02155, equation 1).
Scores of different prompts have no common zero and are not to be compared.

Departs from loading a sequence classifier: the adapter is put on a language model and its head kept aside, so that a
policy that is trained or judged at the same time shares the base (`join_reward_model`); nothing is loaded twice.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flytewheel import weights
from flytewheel.errors import BaseModelError
from flytewheel.models import base_digest, load_model, load_tokenizer, locate_base
from flytewheel.recipe import BaseModelSpec
from flytewheel.records import Message

ADAPTER = "reward"  # the adapter's name beside others
_HEAD = "base_model.model.score.weight"
_BATCH = 16


@dataclass(frozen=True, slots=True)
class RewardModel:
    """A reward model at hand.

    Attributes:
        model: PEFT model whose adapter `adapter` was trained with the head; other adapters on it are left alone.
        adapter: its name.
        head: `(1, hidden)`.
        tokenizer: of the base.
        max_length: tokens of prompt and answer that are read; of longer ones the end.
    """

    model: Any
    adapter: str
    head: Any
    tokenizer: Any
    max_length: int

    def score(
        self, prompts: Sequence[Sequence[Message]], answers: Sequence[str], *, batch_size: int = _BATCH
    ) -> list[float]:
        """The reward of each answer to its prompt, in nats of preference."""
        rows = [
            render_answer(self.tokenizer, prompt, answer)[-self.max_length :]
            for prompt, answer in zip(prompts, answers, strict=True)
        ]
        return self.score_rows(rows, batch_size=batch_size)

    def score_rows(self, rows: Sequence[Sequence[int]], *, batch_size: int = _BATCH) -> list[float]:
        """The reward of each row of token ids as `render_answer` gives them."""
        import torch

        order = sorted(range(len(rows)), key=lambda index: len(rows[index]))
        scores = [0.0] * len(rows)
        with _only_adapter(self.model, self.adapter), torch.no_grad():
            for start in range(0, len(order), batch_size):
                some = order[start : start + batch_size]
                values = self._read([rows[index] for index in some])
                for index, value in zip(some, values, strict=True):
                    scores[index] = value
        return scores

    def _read(self, rows: Sequence[Sequence[int]]) -> list[float]:
        import torch

        device, longest = self.head.device, max(map(len, rows))
        padding = self.tokenizer.pad_token_id
        ids = torch.tensor([[*row, *[padding] * (longest - len(row))] for row in rows], device=device)
        last = torch.tensor([len(row) - 1 for row in rows], device=device)
        mask = (torch.arange(longest, device=device) <= last[:, None]).long()
        # The layers below the head, adapters within them, and whatever a trainer has put around the model left out.
        body = self.model.get_base_model().base_model
        hidden = body(input_ids=ids, attention_mask=mask, use_cache=False).last_hidden_state
        ends = hidden[torch.arange(len(rows), device=device), last]  # (batch, hidden)
        return [float(value) for value in (ends.float() @ self.head.float().T).squeeze(-1)]


def render_answer(tokenizer: Any, prompt: Sequence[Message], answer: str) -> list[int]:
    """Token ids of a conversation that ends with `answer` and its end token; what a template writes after that goes."""
    turns = [*(message.model_dump() for message in prompt), {"role": "assistant", "content": answer}]
    ids = list(tokenizer.apply_chat_template(turns, tokenize=True, return_dict=True)["input_ids"])
    specials = set(tokenizer.all_special_ids)
    end = next((at for at in range(len(ids), 0, -1) if ids[at - 1] in specials), len(ids))
    return ids[:end]


def load_reward_model(base: BaseModelSpec, folder: Path, *, device: str = "cpu") -> RewardModel:
    """Loads the base and the reward model in `folder`, for scoring alone.

    Raises:
        BaseModelError: there is no reward model in `folder`, it was trained on another base, or a file of either must
            not be loaded.
    """
    check_reward_model(base, folder)
    from peft import PeftModel

    model = load_model(base, device=device)
    config = _read_config(folder, base)
    # Made with the adapter's own shape, then filled: PEFT's loading would look for the head in a language model.
    peft_model: Any = PeftModel(model, config, adapter_name=ADAPTER)
    return _fill(peft_model, folder, base, load_tokenizer(base))


def join_reward_model(model: Any, base: BaseModelSpec, folder: Path, tokenizer: Any) -> RewardModel:
    """Puts the reward model in `folder` on a PEFT model of the same base, frozen, beside the adapters that it has.

    Raises:
        BaseModelError: as `load_reward_model`.
    """
    check_reward_model(base, folder)
    model.add_adapter(ADAPTER, _read_config(folder, base))
    return _fill(model, folder, base, tokenizer)


def check_reward_model(base: BaseModelSpec, folder: Path) -> None:
    """Looks at a reward model's files, and at the base that it was trained on, before anything is loaded.

    Raises:
        BaseModelError: what is missing, or must not be loaded, or which other base it was trained on.
    """
    weights.check_adapter(folder)
    from safetensors import safe_open

    with safe_open(str(folder / "adapter_model.safetensors"), framework="numpy") as file:
        has_head = _HEAD in file.keys()  # noqa: SIM118  (not a mapping)
    if not has_head:
        raise BaseModelError(
            f"{folder}: expected a reward model, its adapter has no scalar head ({_HEAD}); train the reward model again"
        )
    try:
        report = json.loads((folder / "report.json").read_text(encoding="utf-8"))
        trained_on = str(report["base"])
    except (OSError, ValueError, KeyError, TypeError):
        raise BaseModelError(
            f"{folder}: expected a report.json that names the base; train the reward model again"
        ) from None
    found = base_digest(base)
    if trained_on != found:
        raise BaseModelError(
            f"{folder}: was trained on the base {trained_on[:12]}, base.model {base.model!r} is {found[:12]} now; "
            "pin base.revision, or train the reward model again"
        )


def _read_config(folder: Path, base: BaseModelSpec) -> Any:
    from peft import LoraConfig

    config: Any = LoraConfig.from_pretrained(str(folder))
    config.modules_to_save = None  # the head: a language model has no place for it
    config.task_type = None
    config.inference_mode = True
    config.base_model_name_or_path = locate_base(base)  # PEFT reads a config under this name at each checkpoint
    return config


def _fill(model: Any, folder: Path, base: BaseModelSpec, tokenizer: Any) -> RewardModel:
    from peft import set_peft_model_state_dict
    from safetensors.torch import load_file

    state = load_file(str(folder / "adapter_model.safetensors"))
    head = state.pop(_HEAD)
    try:
        found = set_peft_model_state_dict(model, state, adapter_name=ADAPTER)
    except RuntimeError as error:
        cause = " ".join(str(error).split())[:200]
        raise BaseModelError(
            f"{folder}: does not fit base.model {base.model!r} ({cause}); train the reward model again"
        ) from None
    missing = [name for name in found.missing_keys if f".{ADAPTER}." in name]
    if missing or found.unexpected_keys:
        raise BaseModelError(
            f"{folder}: does not fit base.model {base.model!r} ({len(missing)} weights missing, "
            f"{len(found.unexpected_keys)} unknown); train the reward model again"
        )
    for name, weight in model.named_parameters():
        if f".{ADAPTER}." in name:
            weight.requires_grad_(False)
    return RewardModel(
        model.eval() if model.active_adapter == ADAPTER else model,
        ADAPTER,
        head.to(model.device),
        tokenizer,
        base.max_length,
    )


@contextmanager
def _only_adapter(model: Any, name: str) -> Iterator[None]:
    """Makes `name` the active adapter inside the block, without dropout, and puts everything back afterwards."""
    before, training = model.active_adapter, model.training
    trained = [weight for weight in model.parameters() if weight.requires_grad]
    model.eval()
    if name != before:
        model.set_adapter(name, inference_mode=True)
    try:
        yield
    finally:
        if name != before:
            model.set_adapter(before)
            for weight in model.parameters():
                weight.requires_grad_(False)
            for weight in trained:
                weight.requires_grad_(True)
        model.train(training)
