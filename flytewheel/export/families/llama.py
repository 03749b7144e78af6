"""Llama and Mistral: rows of q and k reordered, because llama.cpp rotates neighbouring pairs where transformers
rotates halves.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from flytewheel.export.families.plan import Family, PlannedTensor, place_plainly
from flytewheel.export.families.rope import head_dim, rope_factors, rope_options, write_rope
from flytewheel.export.source import SourceTensor


def interleave(rows: int, heads: int) -> Any:
    """The order of rows of q or k in the file: of each head, one row of the first half, then one of the second."""
    import numpy as np

    return np.arange(rows).reshape(heads, 2, rows // heads // 2).swapaxes(1, 2).reshape(rows)


def write_decoder_options(writer: Any, config: Any) -> None:
    """The keys that every family with gated feed-forward layers and grouped attention has."""
    writer.add_vocab_size(config.vocab_size)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_key_length(head_dim(config))
    writer.add_value_length(head_dim(config))
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    write_rope(writer, config)


def refuse_common(config: Any) -> dict[str, bool]:
    """What no family that is built like Llama can have."""
    return {
        f"activation {config.hidden_act!r}": config.hidden_act != "silu",
        "a partial rotation": (rope_options(config).get("partial_rotary_factor") or 1.0) != 1.0,
        "biases in its feed-forward layers": bool(getattr(config, "mlp_bias", False)),
    }


def _plan(config: Any, tensors: Mapping[str, SourceTensor]) -> list[PlannedTensor]:
    heads = {"q_proj": config.num_attention_heads, "k_proj": config.num_key_value_heads}
    planned = []
    for tensor in place_plainly("llama", config, tensors, layers=config.num_hidden_layers):
        layer = str(tensor.source).split(".")[-2]
        order = interleave(tensor.shape[0], heads[layer]) if layer in heads else None
        planned.append(replace(tensor, order=order))
    if rope_options(config).get("rope_type") == "llama3":
        factors = rope_factors(config)
        planned.append(PlannedTensor("rope_freqs.weight", factors.shape, values=factors))
    return planned


def _refuse_mistral(config: Any) -> dict[str, bool]:
    return {"a sliding window": bool(getattr(config, "sliding_window", None)), **refuse_common(config)}


LLAMA = Family("llama", refuse_common, write_decoder_options, _plan)
MISTRAL = Family("llama", _refuse_mistral, write_decoder_options, _plan)
