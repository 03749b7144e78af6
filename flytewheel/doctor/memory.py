"""How much memory training and how much disk a turn wants, roughly and from above: every row as long as `base.max_length`.

| part | bytes | source |
|---|---|---|
| base | parameters × bytes of the dtype; 4-bit: 4.127 bits in linear layers | Dettmers et al. 2023, arXiv:2305.14314, §3 |
| adapter | rank × (inputs + outputs) of each target matrix, × 16: weight, gradient, two Adam moments in float32 | Hu et al. 2021; Kingma & Ba 2014 |
| reference | the adapter's weights once more, for DPO and KTO; of full weights none: its log-probabilities are taken first | – |
| full weights | in place of base and adapter: parameters × 16, weight, gradient and two Adam moments in float32; × 2 more where products are taken in 16 bits (autocast keeps a copy) | Rajbhandari et al. 2020, arXiv:1910.02054, §3.1; Micikevicius et al. 2018, arXiv:1710.03740 |
| activations | tokens × hidden × layers × 36 × bytes of the dtype; with checkpointing 1 instead of 36, and one layer whole | measured; Korthikanti et al. 2022, arXiv:2205.05198, eq. 2 has 17 for a plain block without LoRA and its dropouts |
| logits | tokens × vocabulary × 4 bytes × 4.5: in float32, their softmax, their gradients | measured |
| program | 0.6 GiB: Python, torch, transformers and TRL | measured: 515 MiB |

Measured are the peaks of whole steps (LoRA r 16 on q, k, v, o with dropout, float32, CPU) of three Llamas, hidden 256 to
1,024, 3 to 127 M parameters, 1,024 to 32,000 words: the sum came out between 1 % below and 5 % above what was held. Through
`train_sft` and `align` themselves (another shape, rows of 291 tokens) it was 10 % above for SFT and 25 % for DPO, which
switches dropout off. In bfloat16 and on cards it was not measured.

Disk, at most: F16 and every quantisation (llama.cpp's bits a weight), of the base and of the candidate in a first turn,
each in the turn's folder and in the embedded object store. An adapter is small beside them; full weights are not: 12
bytes a parameter for each checkpoint kept (weights and moments) and the one being written, of SFT and of alignment, and
4 for each of six copies (two stations' own and published, the export's, the store's).

Real rows are shorter than `max_length`, so that activations and logits come out several times smaller.
"""  # noqa: E501 (a table)

from __future__ import annotations

import math
from dataclasses import dataclass

from flytewheel.doctor.base import BaseModel
from flytewheel.profiles import Profile
from flytewheel.recipe import Recipe
from flytewheel.training.arguments import CHECKPOINTING_FROM

_BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}
_NF4_BYTES = 4.127 / 8
_TRAINED_BYTES = 16
_CHECKPOINT_BYTES = 12
_PUBLISHED_BYTES = 4
_PUBLISHED_COPIES = 6
_REFERENCE_BYTES = 4
_ACTIVATIONS = 36  # values a token, hidden unit and layer
_LOGIT_BYTES = 18
_PROGRAM_BYTES = 600 << 20
_BITS = {"F16": 16.0, "Q8_0": 8.5, "Q6_K": 6.5625, "Q5_K_M": 5.7, "Q4_K_M": 4.85}
_COPIES = 4


@dataclass(frozen=True, slots=True)
class TrainingMemory:
    """Bytes of each part; `tokens` are those of the largest micro-batch.

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
        """With every row of a batch as long as `base.max_length`."""
        return self.least + self.activations + self.logits


def estimate_memory(base: BaseModel, recipe: Recipe, profile: Profile) -> TrainingMemory | None:
    """The memory of training `recipe` on `base`; `None` where the files do not tell its size."""
    hidden, layers, vocabulary = (base.config.get(key) for key in ("hidden_size", "num_hidden_layers", "vocab_size"))
    if base.parameters is None or not (hidden and layers and vocabulary):
        return None
    full = recipe.training.adapter == "full"
    dtype = recipe.base.dtype if recipe.base.dtype != "auto" else profile.dtype.value
    width = _BYTES[profile.autocast.value or "float32"] if full else _BYTES[dtype]
    weights = base.parameters * width
    if full:
        weights = base.parameters * width if profile.autocast.value else 0
    elif recipe.training.adapter == "qlora":
        linear = sum(
            math.prod(shape) for name, shape in base.shapes.items() if "embed" not in name and "lm_head" not in name
        )
        weights = int(linear * _NF4_BYTES + (base.parameters - linear) * width)
    targets = tuple(f".{name}.weight" for name in recipe.training.target_modules)
    sides = sum(sum(shape) for name, shape in base.shapes.items() if name.endswith(targets))
    tokens = recipe.base.max_length * _largest_batch(recipe)
    whole = tokens * hidden * _ACTIVATIONS * width
    checkpointed = base.parameters >= CHECKPOINTING_FROM
    each = _TRAINED_BYTES + (_REFERENCE_BYTES if recipe.rlhf.enable else 0)
    trained = base.parameters * _TRAINED_BYTES if full else sides * recipe.training.lora_rank * each
    return TrainingMemory(
        base=weights,
        adapter=trained,
        activations=whole + tokens * hidden * layers * width if checkpointed else whole * layers,
        logits=tokens * vocabulary * _LOGIT_BYTES,
        program=_PROGRAM_BYTES,
        tokens=tokens,
    )


def estimate_disk(base: BaseModel, recipe: Recipe) -> int | None:
    """Bytes that a first turn may write; `None` where the files do not tell the model's size."""
    if base.parameters is None:
        return None
    bits = sum(_BITS[kind] for kind in {"F16", *recipe.export.quantizations})
    written = bits / 8 * _COPIES
    if recipe.training.adapter == "full":
        kept = recipe.training.keep_checkpoints + 1
        kept += recipe.rlhf.keep_checkpoints + 1 if recipe.rlhf.enable else 0
        written += kept * _CHECKPOINT_BYTES + _PUBLISHED_COPIES * _PUBLISHED_BYTES
    return int(base.parameters * written)


def _largest_batch(recipe: Recipe) -> int:
    """Rows of the largest micro-batch; a pair is two."""
    if not recipe.rlhf.enable:
        return recipe.training.batch_size
    each = 1 if recipe.rlhf.method == "kto" else 2
    return max(recipe.training.batch_size, each * recipe.rlhf.batch_size)
