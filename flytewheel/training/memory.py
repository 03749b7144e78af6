"""How much memory the training of an adapter takes at its peak: the backward pass of the largest micro-batch.

| part | bytes | source |
|---|---|---|
| base | parameters × bytes of the dtype; 4-bit: 4.127 bits in linear layers | Dettmers et al. 2023, arXiv:2305.14314, §3 |
| adapter | rank × (inputs + outputs) of each target matrix, × 16: weight, gradient, two Adam moments in float32 | Hu et al. 2021; Kingma & Ba 2014 |
| full weights | in place of base and adapter: parameters × 16, weight, gradient and two Adam moments in float32; × 2 more where products are taken in 16 bits (autocast keeps a copy) | Rajbhandari et al. 2020, arXiv:1910.02054, §3.1; Micikevicius et al. 2018, arXiv:1710.03740 |
| activations | what the backward pass reads again, below, × 1.1 for what the allocator holds besides (0.9 to 1.3 seen: the same training peaked at 1,543 and at 1,760 MB) | counted and measured |
| logits of SFT | three pieces of `loss` in float32: the logits, the last piece's, and what logsumexp takes | flytewheel.training.loss |
| logits of ORPO, and of SFT of full weights | of all positions × 4 in float32: logits, log-softmax and the gradients of both | reckoned, not measured |
| logits of DPO and KTO | the widest tile of TRL's chunked log-probabilities (4,096 tokens of answers × 32,768 words), × 8.25 in float32 | trl.kernels.chunked_logprob, `_backward_tile` |
| program | 0.55 GiB: Python, torch, transformers and TRL | measured: 567 MiB after the first step |

Kept of each token in each layer of a Llama (h hidden, f feed-forward, q width of all heads; counted with
`torch.autograd.graph.saved_tensors_hooks`): inputs of the two norms 2 h, attention 2 q + 2 k (queries, keys, values,
output; 4 q where there is a mask, for which keys and values are repeated to all heads), feed-forward 3 f; and for LoRA
with dropout two copies of each target matrix's input, without it one of each input that several share; and `rank`
values a target. The attention mask is one value for two tokens of a row; SFT has none, but for packed rows where they
are not laid out flat. The gradient that SFT's loss keeps is one more h a token. With activation checkpointing the
layers' inputs are kept, and one layer whole.

Every row is taken to be as long as the longest: the batch that has the longest row is padded to it, whatever the order.
Measured on CPU in float32 (docs/log.md); on cards not.
"""  # noqa: E501 (a table)

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from flytewheel.errors import RecipeError
from flytewheel.models import Device, open_base
from flytewheel.profiles import Profile
from flytewheel.recipe import BaseModelSpec, BudgetSpec, TrainingSpec
from flytewheel.training.arguments import CHECKPOINTING_FROM
from flytewheel.training.loss import piece_rows
from flytewheel.training.micro_batch import MicroBatch
from flytewheel.training.packing import packs_rows

_BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}
_NF4_BYTES = 4.127 / 8
_TRAINED_BYTES = 16
_ALLOCATOR = 1.1
_TILE_TOKENS, _TILE_WORDS = 4096, 32_768
_TILE_COPIES = 8.25
_CARD_TILE_COPIES = 1.0  # a Triton kernel works in place
_PIECES = 3
_WHOLE_COPIES = 4
_PROGRAM_BYTES = 567 << 20
# Target matrices that read the same tensor; what is not among them reads one of its own.
_SHARED = {"q_proj": "attention", "k_proj": "attention", "v_proj": "attention", "gate_proj": "mlp", "up_proj": "mlp"}


class Sized(Protocol):
    """What is known of a base model without loading it: (rows, columns) of every matrix by name, and its config."""

    @property
    def parameters(self) -> int | None: ...
    @property
    def shapes(self) -> Mapping[str, tuple[int, int]]: ...
    @property
    def config(self) -> Mapping[str, Any]: ...


@dataclass(frozen=True, slots=True)
class TrainingMemory:
    """Bytes of each part; `tokens` are those of the largest micro-batch, padding included.

    Of full weights `adapter` is all that is trained, and `base` the copy in 16 bits.
    """

    base: int
    adapter: int
    activations: int
    logits: int
    program: int
    tokens: int

    @property
    def least(self) -> int:
        """What is taken whatever the rows: without activations and logits."""
        return self.base + self.adapter + self.program

    @property
    def most(self) -> int:
        """At the peak."""
        return self.least + self.activations + self.logits


def estimate_memory(
    size: Sized,
    method: str,
    *,
    base: BaseModelSpec,
    training: TrainingSpec,
    profile: Profile,
    rows: int,
    longest: int | None = None,
    answers: int | None = None,
) -> TrainingMemory | None:
    """The peak of a training; `None` where the files do not tell the model's size.

    Args:
        size: Of the base model.
        method: `sft`, `dpo`, `orpo` or `kto`.
        base: Its dtype, and the longest row that is let through.
        training: The adapter.
        profile: Of the device.
        rows: Of a micro-batch; a pair is one row, and so are several that are packed.
        longest: Tokens of the longest sequence; without it as many as are let through.
        answers: Tokens of the longest answer; without it a whole sequence.
    """
    hidden, layers, vocabulary = (size.config.get(key) for key in ("hidden_size", "num_hidden_layers", "vocab_size"))
    if size.parameters is None or not (hidden and layers and vocabulary):
        return None
    full = training.adapter == "full"
    width = _BYTES[base.dtype if base.dtype != "auto" else profile.dtype.value]
    if full:
        width = _BYTES[profile.autocast.value or "float32"]
    length = base.max_length if longest is None else longest
    sequences = rows * (2 if method in ("dpo", "orpo") else 1)
    tokens = length * sequences
    answered = min(length, answers or length) * sequences
    mixed = packs_rows(training, profile) if method == "sft" else sequences > 1
    masked = mixed and not profile.flat.value
    targets = _list_targets(size, training)
    adapter = size.parameters if full else training.lora_rank * sum(sum(shape) for _, shape in targets)
    each_layer = _count_kept(size, training, targets, hidden, layers, dropout=method == "sft", masked=masked)
    whole = tokens * width * each_layer
    checkpointed = size.parameters >= CHECKPOINTING_FROM
    kept = whole + tokens * hidden * layers * width if checkpointed else whole * layers
    if method == "sft" and not full:
        kept += answered * hidden * width
    mask = tokens * length * width if masked else 0
    return TrainingMemory(
        base=_count_base_bytes(size, training, width),
        adapter=adapter * _TRAINED_BYTES,
        activations=int((kept + mask) * _ALLOCATOR),
        logits=_count_logits(method, tokens, answered, vocabulary, full=full, kind=profile.kind),
        program=_PROGRAM_BYTES,
        tokens=tokens,
    )


def fit_memory(
    budget: BudgetSpec,
    batch: MicroBatch,
    method: str,
    *,
    base: BaseModelSpec,
    training: TrainingSpec,
    longest: int,
    rows: int,
    device: Device,
    answers: int | None = None,
    least: int = 1,
) -> tuple[MicroBatch, tuple[str, ...]]:
    """The largest micro-batch of at most `batch` whose peak is within `budget.memory_gb`, and what was done in words.

    Raises:
        RecipeError: not even `least` rows fit.
    """
    if budget.memory_gb is None:
        return batch, ()
    size = measure_folder(open_base(base, with_weights=True))

    def predict(batch: MicroBatch) -> float:
        found = estimate_memory(
            size, method, base=base, training=training, profile=device.profile, rows=min(batch.rows, rows),
            longest=longest, answers=answers,
        )  # fmt: skip
        if found is None:
            raise RecipeError("recipe", [f"budget.memory_gb: the size of base.model {base.model!r} is not known"])
        return found.most / 1e9

    asked = batch
    fitting: MicroBatch | None = batch
    while fitting is not None and predict(fitting) > budget.memory_gb:
        batch, fitting = fitting, fitting.halve(least)
    if fitting is None:
        raise RecipeError(
            "recipe",
            [
                f"budget.memory_gb: {method} would take {predict(batch):.2g} GB with a micro-batch of {batch.rows} "
                f"already, {budget.memory_gb:g} are given; lower base.max_length (the longest row has {longest} "
                "tokens) or training.lora_rank, or take a smaller base, or training.adapter: qlora on CUDA"
            ],
        )
    if fitting == asked:
        return asked, ()
    return fitting, (
        f"micro-batches of {fitting.rows} instead of {asked.rows} for budget.memory_gb {budget.memory_gb:g}: "
        f"{predict(fitting):.2g} instead of {predict(asked):.2g} GB predicted, {asked.step_rows} rows a step as before",
    )


def measure_folder(folder: Path) -> Sized:
    """The size of the model in `folder`, from the headers of its files."""
    import json

    from safetensors import safe_open

    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    parameters, shapes = 0, dict[str, tuple[int, int]]()
    for path in sorted(folder.glob("*.safetensors")):
        with safe_open(path, framework="numpy") as tensors:
            for name in tensors.keys():  # noqa: SIM118 (not a mapping)
                shape = tensors.get_slice(name).get_shape()
                parameters += math.prod(shape)
                if len(shape) == 2:
                    shapes[name] = (shape[0], shape[1])
    text = config.get("text_config")
    return BaseSize(parameters or None, shapes, {**config, **(text if isinstance(text, dict) else {})})


@dataclass(frozen=True, slots=True)
class BaseSize:
    """A base model's size; see `Sized`."""

    parameters: int | None
    shapes: Mapping[str, tuple[int, int]]
    config: Mapping[str, Any]


def _list_targets(size: Sized, training: TrainingSpec) -> list[tuple[str, tuple[int, int]]]:
    """The matrices that get an adapter: last part of the name, (outputs, inputs)."""
    wanted = set(training.target_modules)
    named = ((name.removesuffix(".weight").rpartition(".")[2], shape) for name, shape in size.shapes.items())
    return [(name, shape) for name, shape in named if name in wanted]


def _count_kept(
    size: Sized,
    training: TrainingSpec,
    targets: list[tuple[str, tuple[int, int]]],
    hidden: int,
    layers: int,
    *,
    dropout: bool,
    masked: bool,
) -> float:
    """Values that a layer keeps of a token."""
    heads = size.config.get("num_attention_heads") or 1
    each = size.config.get("head_dim") or hidden // heads
    keys = heads if masked else size.config.get("num_key_value_heads") or heads
    kept: float = 2 * hidden + 2 * (heads + keys) * each + 3 * (size.config.get("intermediate_size") or 4 * hidden)
    kept += training.lora_rank * len(targets) / layers
    if dropout and training.lora_dropout:
        return kept + 2 * sum(shape[1] for _, shape in targets) / layers
    read = {_SHARED.get(name, name): shape[1] for name, shape in targets}
    return kept + sum(width for name, width in read.items() if name != "o_proj")  # o reads attention's output, kept


def _count_logits(method: str, tokens: int, answered: int, vocabulary: int, *, full: bool, kind: str) -> int:
    """Bytes of logits and what is made of them, at the most."""
    if method == "orpo":
        return _WHOLE_COPIES * tokens * vocabulary * 4
    if method == "sft" and full:
        return _WHOLE_COPIES * answered * vocabulary * 4
    if method == "sft":
        return _PIECES * min(answered, piece_rows(vocabulary, kind)) * vocabulary * 4
    tile = min(answered, _TILE_TOKENS) * min(vocabulary, _TILE_WORDS) * 4
    return int(tile * (_CARD_TILE_COPIES if kind == "cuda" else _TILE_COPIES))


def _count_base_bytes(size: Sized, training: TrainingSpec, width: int) -> int:
    parameters = size.parameters or 0
    if training.adapter == "full":
        return parameters * width if width < _BYTES["float32"] else 0
    if training.adapter != "qlora":
        return parameters * width
    linear = sum(
        math.prod(shape) for name, shape in size.shapes.items() if "embed" not in name and "lm_head" not in name
    )
    return int(linear * _NF4_BYTES + (parameters - linear) * width)
