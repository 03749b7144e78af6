"""Whether a model keeps packed rows apart: asked of the model itself, not read from a list of architectures.

Attention is told by `position_ids` where a row begins (`sequences`). A recurrent layer (Mamba, linear attention) or a
kernel that looks at one sequence only goes on across the border, without a word. So two sequences of two rows each are
computed twice, with other first rows the second time: the second rows must not notice.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flytewheel.errors import RecipeError

LayOut = Callable[[list[dict[str, Any]]], dict[str, Any]]

_FIRST, _SECOND = 5, 4  # tokens of the rows
_NOTICED = 1e-3  # of the largest logit: rounding is far below, a neighbour that is seen far above


def check_rows_stay_apart(model: Any, lay_out: LayOut) -> None:
    """Refuses to pack rows for `model` where they would see each other.

    Args:
        model: as it is going to be trained.
        lay_out: makes its batches (`sequences.lay_out`).

    Raises:
        RecipeError: a row's logits depend on the row before it.
    """
    if not _rows_stay_apart(model, lay_out):
        kind, attention = model.config.model_type, model.config._attn_implementation
        fault = f"{kind!r} with {attention!r} attention lets rows of one sequence see each other"
        raise RecipeError("recipe", [f"training.packing: {fault}; set training.packing: false"])


def _rows_stay_apart(model: Any, lay_out: LayOut) -> bool:
    import numpy as np
    import torch

    device = model.get_input_embeddings().weight.device
    chance = np.random.default_rng(0)
    words = int(model.config.get_text_config().vocab_size)
    one = chance.integers(words, size=(2, _FIRST + _SECOND))
    other = one.copy()
    other[:, :_FIRST] = chance.integers(words, size=(2, _FIRST))

    def answer(rows: Any) -> Any:
        batch = lay_out([{"input_ids": ids, "labels": ids, "row_lengths": [_FIRST, _SECOND]} for ids in rows])
        own = {
            name: value.to(device) if torch.is_tensor(value) else value
            for name, value in batch.items()
            if name not in ("labels", "attention_mask")
        }
        logits = model(**own, use_cache=False).logits
        return logits.reshape(2, _FIRST + _SECOND, -1)[:, _FIRST:].float()

    was_training = model.training
    model.eval()
    with torch.no_grad():
        before, after = answer(one), answer(other)
    model.train(was_training)
    return bool((before - after).abs().max() <= _NOTICED * before.abs().max())
