"""Gemma 2 and Gemma 3 (text): norms are stored without the 1 that they multiply by, and layers alternate between a
sliding window and full attention.

llama.cpp scales embeddings by √hidden itself. It also decides what queries are scaled by, from the number of layers:
by the head, except for the 27 B models; where `query_pre_attn_scalar` says otherwise, the model is refused. Gemma 2 has
its attention and its logits capped in llama.cpp whatever a configuration says, Gemma 3 its logits where asked for.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from flytewheel.export.families.decoder import (
    find_window,
    list_shapes,
    refuse_biases,
    refuse_common,
    write_decoder_options,
)
from flytewheel.export.families.plan import Family, PlannedTensor, Shapes, place_plainly
from flytewheel.export.families.rope import PLAIN_KINDS, head_dim, refuse_rope, rope_base
from flytewheel.export.source import SourceTensor

_NORMS = (
    "input_layernorm", "post_attention_layernorm", "pre_feedforward_layernorm", "post_feedforward_layernorm"
)  # fmt: skip
_STEPS = {"gemma2": 2, "gemma3": 6}  # every which layer has full attention, where the file does not say
_LARGE = {"gemma2": 46, "gemma3": 62}  # layers of the 27 B models
_MULTIMODAL = "model.language_model."


def _refuse(architecture: str, config: Any) -> dict[str, bool]:
    large = config.num_hidden_layers == _LARGE[architecture]
    scalar = config.hidden_size // config.num_attention_heads if large else head_dim(config)
    return {
        f"query_pre_attn_scalar = {config.query_pre_attn_scalar}, not {scalar}": (
            config.query_pre_attn_scalar != scalar
        ),
        "sliding layers without a sliding_window": (
            "sliding_attention" in config.layer_types and not config.sliding_window
        ),
        **refuse_biases(config),
    }


def _refuse_gemma2(config: Any) -> dict[str, bool]:
    caps = ("attn_logit_softcapping", "final_logit_softcapping")
    return {
        **{f"no {cap}": not getattr(config, cap) for cap in caps},
        "an output matrix of its own": not config.tie_word_embeddings,
        **refuse_common(config, activation="gelu_pytorch_tanh", rope=PLAIN_KINDS, own=caps),
        **_refuse("gemma2", config),
    }


def _refuse_gemma3(config: Any) -> dict[str, bool]:
    local = refuse_rope(config, {"default"}, "sliding_attention")
    return {
        **refuse_common(config, activation="gelu_pytorch_tanh", rope=PLAIN_KINDS, own=("final_logit_softcapping",)),
        **{f"{what} in its sliding layers": found for what, found in local.items()},
        **_refuse("gemma3", config),
    }


def _write_gemma2(writer: Any, config: Any) -> None:
    write_decoder_options(writer, config)
    writer.add_attn_logit_softcapping(float(config.attn_logit_softcapping))
    writer.add_final_logit_softcapping(float(config.final_logit_softcapping))
    _write_window(writer, config, "gemma2")


def _write_gemma3(writer: Any, config: Any) -> None:
    write_decoder_options(writer, config)
    writer.add_rope_freq_base_swa(rope_base(config, "sliding_attention"))
    if config.final_logit_softcapping:
        writer.add_final_logit_softcapping(float(config.final_logit_softcapping))
    _write_window(writer, config, "gemma3")


def _write_window(writer: Any, config: Any, architecture: str) -> None:
    """The window, and which layers have it where that is not what llama.cpp takes for granted."""
    step, layers = _STEPS[architecture], config.num_hidden_layers
    sliding = [kind == "sliding_attention" for kind in config.layer_types[:layers]]
    window = find_window(config)
    if window is not None:
        writer.add_sliding_window(window)
    elif architecture == "gemma3":  # without a window it has no sliding layers
        return
    if sliding != [(index + 1) % step != 0 for index in range(layers)]:
        writer.add_sliding_window_pattern(sliding)


def _plan(architecture: str, config: Any, tensors: Mapping[str, SourceTensor], shapes: Shapes) -> list[PlannedTensor]:
    prefix = _MULTIMODAL if any(name.startswith(_MULTIMODAL) for name in tensors) else "model."
    placed = place_plainly(architecture, config, tensors, shapes, prefix=prefix)
    return [replace(tensor, shift=1.0) if "norm.weight" in tensor.name else tensor for tensor in placed]


def _plan_gemma2(config: Any, tensors: Mapping[str, SourceTensor]) -> list[PlannedTensor]:
    return _plan("gemma2", config, tensors, list_shapes(config, norms=_NORMS))


def _plan_gemma3(config: Any, tensors: Mapping[str, SourceTensor]) -> list[PlannedTensor]:
    return _plan("gemma3", config, tensors, list_shapes(config, norms=_NORMS, head_norms=True))


GEMMA2 = Family("gemma2", _refuse_gemma2, _write_gemma2, _plan_gemma2)
GEMMA3 = Family("gemma3", _refuse_gemma3, _write_gemma3, _plan_gemma3)
