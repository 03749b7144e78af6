"""Whether a model keeps packed rows apart: asked of the model itself, not read from a list of architectures.

Attention is told by `position_ids` where a row begins (`sequences`). A recurrent layer (Mamba, linear attention) or a
kernel that looks at one sequence only goes on across the border, without a word. So two sequences of two rows each are
computed twice, with other first rows the second time: the second rows must not notice.
"""

from __future__ import annotations

from typing import Any

from flytewheel.errors import RecipeError

_FIRST, _SECOND = 5, 4  # tokens of the rows
_NOTICED = 1e-3  # of the largest logit: rounding is far below, a neighbour that is seen far above


def check_rows_stay_apart(model: Any) -> None:
    """Refuses to pack rows for `model` where they would see each other.

    Raises:
        RecipeError: a row's logits depend on the row before it.
    """
    if not _rows_stay_apart(model):
        kind, attention = model.config.model_type, model.config._attn_implementation
        fault = f"{kind!r} with {attention!r} attention lets rows of one sequence see each other"
        raise RecipeError("recipe", [f"training.packing: {fault}; set training.packing: false"])


def _rows_stay_apart(model: Any) -> bool:
    import torch

    device = model.get_input_embeddings().weight.device
    chance = torch.Generator().manual_seed(0)
    words = int(model.config.get_text_config().vocab_size)
    one = torch.randint(words, (2, _FIRST + _SECOND), generator=chance)
    other = one.clone()
    other[:, :_FIRST] = torch.randint(words, (2, _FIRST), generator=chance)
    positions = torch.cat([torch.arange(_FIRST), torch.arange(_SECOND)]).expand(2, -1).to(device)
    was_training = model.training
    model.eval()
    with torch.no_grad():
        before, after = (
            model(input_ids=ids.to(device), position_ids=positions, use_cache=False).logits[:, _FIRST:].float()
            for ids in (one, other)
        )
    model.train(was_training)
    return bool((before - after).abs().max() <= _NOTICED * before.abs().max())
