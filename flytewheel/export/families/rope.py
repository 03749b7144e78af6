"""The rotary embedding in a configuration of transformers, and what llama.cpp is told of it."""

from __future__ import annotations

import math
from typing import Any

from flytewheel.errors import ExportError


def rope_options(config: Any) -> dict[str, Any]:
    """The options of the rotary embedding; transformers keeps theta in here, no longer beside it."""
    return dict(getattr(config, "rope_parameters", None) or {})


def rope_base(config: Any) -> float:
    """Theta of the rotary embedding."""
    theta = rope_options(config).get("rope_theta", getattr(config, "rope_theta", None))
    if theta is None:
        raise ExportError("the model's config gives no rope_theta; take a base whose config.json is complete")
    return float(theta)


def head_dim(config: Any) -> int:
    """Numbers in one head."""
    return int(getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads)


def write_rope(writer: Any, config: Any) -> None:
    """Writes dimension, theta and scaling.

    Raises:
        ExportError: a kind of scaling that cannot be written faithfully.
    """
    import gguf

    rope = rope_options(config)
    writer.add_rope_dimension_count(head_dim(config))
    writer.add_rope_freq_base(rope_base(config))
    kind = rope.get("rope_type", "default")
    if kind == "linear":
        writer.add_rope_scaling_type(gguf.RopeScalingType.LINEAR)
        writer.add_rope_scaling_factor(float(rope["factor"]))
    elif kind not in {"default", "llama3"}:
        raise ExportError(f"rope type {kind!r} cannot be written as GGUF: expected default, linear or llama3")


def rope_factors(config: Any) -> Any:
    """Llama 3.1's divisors of the rotary frequencies, fp32 `(head_dim / 2,)`: long waves are stretched, short kept."""
    import numpy as np

    rope, dim = rope_options(config), head_dim(config)
    factor, original = float(rope["factor"]), float(rope["original_max_position_embeddings"])
    low, high = float(rope.get("low_freq_factor", 1.0)), float(rope.get("high_freq_factor", 4.0))
    factors = []
    for index in range(0, dim, 2):
        wavelength = 2 * math.pi * rope_base(config) ** (index / dim)
        if wavelength < original / high:
            factors.append(1.0)
        elif wavelength > original / low:
            factors.append(factor)
        else:
            smooth = (original / wavelength - low) / (high - low)
            factors.append(1 / ((1 - smooth) / factor + smooth))
    return np.array(factors, dtype=np.float32)
