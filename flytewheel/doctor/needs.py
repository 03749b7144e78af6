"""What a turn of a recipe needs of a machine, roughly and from above: memory with every row as long as
`base.max_length` (`training.memory`), and disk.

Disk, at most: F16 and every quantisation (llama.cpp's bits a weight), of the base and of the candidate in a first turn,
each in the turn's folder and in the embedded object store. An adapter is small beside them; full weights are not: 12
bytes a parameter for each checkpoint kept (weights and moments) and the one being written, of SFT and of alignment, and
4 for each of six copies (two stations' own and published, the export's, the store's).
"""

from __future__ import annotations

from flytewheel.doctor.base import BaseModel
from flytewheel.profiles import Profile
from flytewheel.recipe import Recipe
from flytewheel.training.memory import TrainingMemory, estimate_memory

_BITS = {"F16": 16.0, "BF16": 16.0, "Q8_0": 8.5, "Q6_K": 6.5625, "Q5_K_M": 5.7, "Q4_K_M": 4.85}
_COPIES = 4
_CHECKPOINT_BYTES = 12
_PUBLISHED_BYTES = 4
_PUBLISHED_COPIES = 6


def estimate_turn(base: BaseModel, recipe: Recipe, profile: Profile) -> TrainingMemory | None:
    """The memory of that part of the training which takes most; `None` where the files do not tell the base's size."""
    parts = [("sft", recipe.training.batch_size)]
    if recipe.rlhf.enable:
        # GRPO is not estimated; a pair for each of its answers is taken to be more.
        method = "dpo" if recipe.rlhf.method == "grpo" else recipe.rlhf.method
        parts.append((method, recipe.rlhf.batch_size))
    found = [
        estimate_memory(base, method, base=recipe.base, training=recipe.training, profile=profile, rows=rows)
        for method, rows in parts
    ]
    return max((each for each in found if each is not None), key=lambda each: each.most, default=None)


def estimate_disk(base: BaseModel, recipe: Recipe) -> int | None:
    """Bytes that a first turn may write; `None` where the files do not tell the model's size."""
    return estimate_disk_of(base.parameters, recipe)


def estimate_disk_of(parameters: int | None, recipe: Recipe) -> int | None:
    """Bytes that a first turn of a base with so many parameters may write."""
    if parameters is None:
        return None
    bits = sum(_BITS[kind] for kind in {"F16", *recipe.export.quantizations})
    written = bits / 8 * _COPIES
    if recipe.training.adapter == "full":
        kept = recipe.training.keep_checkpoints + 1
        kept += recipe.rlhf.keep_checkpoints + 1 if recipe.rlhf.enable else 0
        written += kept * _CHECKPOINT_BYTES + _PUBLISHED_COPIES * _PUBLISHED_BYTES
    return int(parameters * written)
