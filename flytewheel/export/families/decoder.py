"""What all families share: decoders with gated feed-forward layers, grouped attention and root-mean-square norms.

A sliding window is one of the few options that an architecture of llama.cpp may not have although the model does.
Within the window it changes nothing, so such a model is written with the window as its context: servers that take the
context from the file compute what transformers does, and one that is told to go beyond says so in its log.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Sequence
from typing import Any

from flytewheel.export.families.plan import Shapes
from flytewheel.export.families.rope import ROPE_KINDS, head_dim, refuse_rope, rope_options, write_rope

logger = logging.getLogger(__name__)

# Options of other models (Granite, Cohere, Gemma …) that change what is computed, and what makes them do nothing.
_FOREIGN = {
    **dict.fromkeys(("attention_multiplier", "embedding_multiplier", "residual_multiplier", "logits_scaling"), 1),
    **dict.fromkeys(("logit_scale", "embedding_scale", "is_causal"), 1),
    **dict.fromkeys(("attn_logit_softcapping", "final_logit_softcapping", "clip_qkv", "attention_sink_size"), 0),
    **dict.fromkeys(("use_bidirectional_attention", "use_qk_norm", "num_local_experts", "num_experts"), 0),
}
_LAYER_KINDS = {"full_attention", "sliding_attention"}


def find_window(config: Any) -> int | None:
    """The sliding window in tokens, where at least one layer has one."""
    kinds = getattr(config, "layer_types", None)
    if kinds is not None and "sliding_attention" not in kinds:
        return None
    return getattr(config, "sliding_window", None) or None


def find_context(config: Any, *, window: int | None = None) -> int:
    """The longest text in tokens for which llama.cpp computes the same; `window` is one that it does not know."""
    longest = int(config.max_position_embeddings)
    if rope_options(config).get("rope_type") == "dynamic":
        logger.warning("rope type 'dynamic' is written as unscaled: the same up to %d tokens, not beyond", longest)
    if window is None or window >= longest:
        return longest
    logger.warning(
        "llama.cpp has no sliding window for %s: the file's context is its window, %d tokens instead of %d",
        config.model_type, window, longest,
    )  # fmt: skip
    return window


def write_decoder_options(writer: Any, config: Any, *, window: int | None = None) -> None:
    """The keys that every family has; `window` as in `find_context`."""
    writer.add_vocab_size(config.vocab_size)
    writer.add_context_length(find_context(config, window=window))
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_key_length(head_dim(config))
    writer.add_value_length(head_dim(config))
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    write_rope(writer, config)


def refuse_common(
    config: Any,
    *,
    activation: str = "silu",
    rope: Collection[str] = ROPE_KINDS,
    own: Collection[str] = (),
) -> dict[str, bool]:
    """What no family can have.

    Args:
        config: Of the model.
        activation: The one that llama.cpp computes for the family.
        rope: Kinds of scaling that can be written.
        own: Options among those of other models that this one can have.
    """
    given = getattr(config, "hidden_activation", None) or getattr(config, "hidden_act", None)
    kinds = set(getattr(config, "layer_types", None) or ()) - _LAYER_KINDS
    foreign = {name: getattr(config, name, None) for name in _FOREIGN if name not in own}
    return {
        f"activation {given!r}": given != activation,
        f"layers of {', '.join(sorted(kinds))}": bool(kinds),
        "quantised weights (quantization_config)": bool(getattr(config, "quantization_config", None)),
        **{f"{name} = {value!r}": value not in (None, _FOREIGN[name]) for name, value in foreign.items()},
        **refuse_rope(config, rope),
    }


def refuse_biases(config: Any, *, attention: bool = True, mlp: bool = True) -> dict[str, bool]:
    """The biases that llama.cpp does not load for a family."""
    return {
        "attention_bias": attention and bool(getattr(config, "attention_bias", False)),
        "mlp_bias": mlp and bool(getattr(config, "mlp_bias", False)),
    }


def list_shapes(
    config: Any,
    *,
    norms: Sequence[str] = ("input_layernorm", "post_attention_layernorm"),
    head_norms: bool = False,
    biases: Collection[str] = (),
) -> Shapes:
    """Names and shapes of the tensors that the model has by its configuration.

    Args:
        config: Of the model; an output matrix of its own where `tie_word_embeddings` is off.
        norms: Of a layer, over the hidden size.
        head_norms: Whether q and k have norms, over one head.
        biases: Parts of names of the matrices that have one.
    """
    hidden, inner, dim = config.hidden_size, config.intermediate_size, head_dim(config)
    queries, keys = config.num_attention_heads * dim, config.num_key_value_heads * dim
    layer: dict[str, tuple[int, ...]] = {
        "self_attn.q_proj": (queries, hidden),
        "self_attn.k_proj": (keys, hidden),
        "self_attn.v_proj": (keys, hidden),
        "self_attn.o_proj": (hidden, queries),
        "mlp.gate_proj": (inner, hidden),
        "mlp.up_proj": (inner, hidden),
        "mlp.down_proj": (hidden, inner),
        **dict.fromkeys(norms, (hidden,)),
        **(dict.fromkeys(("self_attn.q_norm", "self_attn.k_norm"), (dim,)) if head_norms else {}),
    }
    shapes: dict[str, tuple[int, ...]] = {"model.embed_tokens.weight": (config.vocab_size, hidden)}
    for index in range(config.num_hidden_layers):
        for part, shape in layer.items():
            shapes[f"model.layers.{index}.{part}.weight"] = shape
            if any(name in part for name in biases):
                shapes[f"model.layers.{index}.{part}.bias"] = shape[:1]
    shapes["model.norm.weight"] = (hidden,)
    if not config.tie_word_embeddings:
        shapes["lm_head.weight"] = (config.vocab_size, hidden)
    return shapes
