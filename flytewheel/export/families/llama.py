"""Llama, Mistral and SmolLM (which is Llama up to its second generation): rows of q and k reordered, because llama.cpp
rotates neighbouring pairs where transformers rotates halves.

SmolLM 3 has layers that are not rotated, every fourth; llama.cpp knows them by number, so another pattern is refused.
Their q and k are reordered like all others: what is summed over a head does not care.
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
from flytewheel.export.families.plan import Family, PlannedTensor, place_plainly
from flytewheel.export.families.rope import ROPE_KINDS, rope_factors, rope_options
from flytewheel.export.source import SourceTensor

_ATTENTION = ("q_proj", "k_proj", "v_proj", "o_proj")
_MLP = ("gate_proj", "up_proj", "down_proj")
_STEP = 4  # of layers that are not rotated, in llama.cpp


def interleave(rows: int, heads: int) -> Any:
    """The order of rows of q or k in the file: of each head, one row of the first half, then one of the second."""
    import numpy as np

    return np.arange(rows).reshape(heads, 2, rows // heads // 2).swapaxes(1, 2).reshape(rows)


def _plan(architecture: str, config: Any, tensors: Mapping[str, SourceTensor]) -> list[PlannedTensor]:
    heads = {"q_proj": config.num_attention_heads, "k_proj": config.num_key_value_heads}
    biases = (*(_ATTENTION if getattr(config, "attention_bias", False) else ()),
              *(_MLP if getattr(config, "mlp_bias", False) else ()))  # fmt: skip
    planned = []
    for tensor in place_plainly(architecture, config, tensors, list_shapes(config, biases=biases)):
        layer = str(tensor.source).split(".")[-2]
        order = interleave(tensor.shape[0], heads[layer]) if layer in heads else None
        planned.append(replace(tensor, order=order))
    if rope_options(config).get("rope_type") == "llama3":
        factors = rope_factors(config)
        planned.append(PlannedTensor("rope_freqs.weight", factors.shape, values=factors))
    return planned


def _plan_llama(config: Any, tensors: Mapping[str, SourceTensor]) -> list[PlannedTensor]:
    return _plan("llama", config, tensors)


def _refuse_llama(config: Any) -> dict[str, bool]:
    return refuse_common(config, rope=ROPE_KINDS | {"llama3"})


def _write_windowed(writer: Any, config: Any) -> None:
    write_decoder_options(writer, config, window=find_window(config))


def _plan_smollm3(config: Any, tensors: Mapping[str, SourceTensor]) -> list[PlannedTensor]:
    return _plan("smollm3", config, tensors)


def _refuse_smollm3(config: Any) -> dict[str, bool]:
    layers = config.num_hidden_layers
    expected = [int((index + 1) % _STEP != 0) for index in range(layers)]
    return {
        "layers without rotation other than each fourth (no_rope_layers)": (
            list(config.no_rope_layers)[:layers] != expected
        ),
        **refuse_biases(config),
        **refuse_common(config),
    }


LLAMA = Family("llama", _refuse_llama, write_decoder_options, _plan_llama)
MISTRAL = Family("llama", _refuse_llama, _write_windowed, _plan_llama)
SMOLLM3 = Family("smollm3", _refuse_smollm3, _write_windowed, _plan_smollm3)
