"""The rotary embedding in a configuration of transformers, and what llama.cpp is told of it.

- `default` and `linear` are the same in both.
- `llama3` becomes a tensor of divisors, which llama.cpp reads for the architecture `llama` alone.
- `yarn` is the same in both (Peng et al. 2023), except that llama.cpp takes no factor of attention but one that its
  own, 0.1 ln s + 1, is multiplied by; what is written here is the quotient. Its own converter writes the factor itself,
  and that and the two betas under keys that its library reads for none of these families; so other betas than the usual
  ones are refused.
- `dynamic` does nothing up to `max_position_embeddings`, and after it depends on how long a text is, which llama.cpp
  cannot do: written as unscaled, with that length as the context.
- `longrope` is refused: which of its two tables counts depends on the text in one and on the context in the other.
"""

from __future__ import annotations

import math
from collections.abc import Collection
from typing import Any

from flytewheel.errors import ExportError

PLAIN_KINDS = frozenset({"default", "linear"})
ROPE_KINDS = PLAIN_KINDS | {"dynamic", "yarn"}
_BETAS = {"beta_fast": 32, "beta_slow": 1}  # turns within the original context that bound the ramp


def rope_options(config: Any, layers: str = "full_attention") -> dict[str, Any]:
    """The options of the rotary embedding, where kinds of layers have their own those of `layers`; transformers 5 keeps
    theta in here, and moves an older configuration's there.
    """
    options = dict(getattr(config, "rope_parameters", None) or {})
    return dict(options[layers]) if isinstance(options.get(layers), dict) else options


def rope_base(config: Any, layers: str = "full_attention") -> float:
    """Theta of the rotary embedding."""
    theta = rope_options(config, layers).get("rope_theta", getattr(config, "rope_theta", None))
    if theta is None:
        raise ExportError("the model's config gives no rope_theta; take a base whose config.json is complete")
    return float(theta)


def head_dim(config: Any) -> int:
    """Numbers in one head."""
    return int(getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads)


def refuse_rope(config: Any, kinds: Collection[str], layers: str = "full_attention") -> dict[str, bool]:
    """What of a rotary embedding cannot be written, where `kinds` of scaling can."""
    rope = rope_options(config, layers)
    kind = rope.get("rope_type", "default")
    return {
        f"rope type {kind!r}": kind not in kinds,
        "a partial rotation": (rope.get("partial_rotary_factor") or 1.0) != 1.0,
        "a rope_theta of 0": rope.get("rope_theta") == 0,
        **{
            f"yarn with {name} = {rope.get(name)}": kind == "yarn" and (rope.get(name) or usual) != usual
            for name, usual in _BETAS.items()
        },
        "yarn with truncate = false": kind == "yarn" and rope.get("truncate") is False,
    }


def write_rope(writer: Any, config: Any) -> None:
    """Writes dimension, theta and scaling of the layers of full attention."""
    import gguf

    rope = rope_options(config)
    writer.add_rope_dimension_count(head_dim(config))
    writer.add_rope_freq_base(rope_base(config))
    kind = rope.get("rope_type", "default")
    if kind == "linear":
        writer.add_rope_scaling_type(gguf.RopeScalingType.LINEAR)
        writer.add_rope_scaling_factor(float(rope["factor"]))
    elif kind == "yarn":
        _write_yarn(writer, config, rope)


def _write_yarn(writer: Any, config: Any, rope: dict[str, Any]) -> None:
    import gguf

    original = int(rope["original_max_position_embeddings"])
    factor = float(rope.get("factor") or config.max_position_embeddings / original)
    attention = rope.get("attention_factor")
    if attention is None:
        one, other = rope.get("mscale"), rope.get("mscale_all_dim")
        attention = _mscale(factor, one) / _mscale(factor, other) if one and other else _mscale(factor)
    writer.add_rope_scaling_type(gguf.RopeScalingType.YARN)
    writer.add_rope_scaling_factor(factor)
    writer.add_rope_scaling_orig_ctx_len(original)
    if not math.isclose(attention, _mscale(factor), rel_tol=1e-9):
        writer.add_rope_scaling_attn_factors(attention / _mscale(factor))


def _mscale(factor: float, weight: float = 1.0) -> float:
    return 0.1 * weight * math.log(factor) + 1.0 if factor > 1 else 1.0


def rope_factors(config: Any) -> Any:
    """Llama 3.1's divisors of the rotary frequencies, fp32 `(head_dim / 2,)`: long waves are stretched, short kept.

    Computed in fp32 by torch, as transformers and llama.cpp's converter do, so that the last bit is theirs.
    """
    import torch

    rope, dim = rope_options(config), head_dim(config)
    factor, original = float(rope["factor"]), float(rope["original_max_position_embeddings"])
    low, high = float(rope.get("low_freq_factor", 1.0)), float(rope.get("high_freq_factor", 4.0))
    frequencies = 1.0 / (rope_base(config) ** (torch.arange(0, dim, 2, dtype=torch.float32) / dim))
    wavelengths = 2 * math.pi / frequencies
    smooth = (original / wavelengths - low) / (high - low)
    between = 1 / ((1 - smooth) / factor + smooth)
    stretched = torch.where(wavelengths > original / low, torch.tensor(factor), between)
    return torch.where(wavelengths < original / high, torch.tensor(1.0), stretched).numpy()
