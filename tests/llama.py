"""Llama 3.1 8B as its files tell it, for numbers worked by hand: 32 layers of q and o 4096x4096, k and v 1024x4096,
three feed-forward matrices, two embeddings.
"""

from __future__ import annotations

from typing import Any

from flytewheel.doctor.base import BaseModel
from flytewheel.recipe import Recipe

_LAYER = {
    "self_attn.q_proj": (4096, 4096), "self_attn.k_proj": (1024, 4096), "self_attn.v_proj": (1024, 4096),
    "self_attn.o_proj": (4096, 4096), "mlp.gate_proj": (14336, 4096), "mlp.up_proj": (14336, 4096),
    "mlp.down_proj": (4096, 14336),
}  # fmt: skip
LLAMA = BaseModel(
    "llama", "/models", "LlamaForCausalLM", 8_030_261_248, 16_060_556_376, True, True,
    {
        **{f"model.layers.{n}.{name}.weight": shape for n in range(32) for name, shape in _LAYER.items()},
        "model.embed_tokens.weight": (128_256, 4096), "lm_head.weight": (128_256, 4096),
    },
    {
        "hidden_size": 4096, "num_hidden_layers": 32, "vocab_size": 128_256, "num_attention_heads": 32,
        "num_key_value_heads": 8, "intermediate_size": 14336,
    },
)  # fmt: skip


def make_recipe(model: str = "llama", **sections: Any) -> Recipe:
    return Recipe.model_validate({"name": "made", "base": {"model": model, "max_length": 1024}, **sections})
