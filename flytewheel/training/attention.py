"""Attention of rows that share a sequence, each to itself only, without a mask over all pairs.

transformers' `sdpa` gets the borders of packed rows right by a mask of (tokens, tokens), which rules the flash kernel
out: on an H100 a step of 4,096 packed tokens took 595 ms with it and 354 ms with torch's own variable-length flash
kernel (`torch.nn.attention.varlen`, from torch 2.10; no further package), which reads the borders as cumulative lengths
(Dao 2023, arXiv:2307.08691). It is registered with transformers as `varlen`. What the kernel has not (float32, a soft
cap, dropout, other layouts) stays with `sdpa`.
"""

from __future__ import annotations

from typing import Any

NAME = "varlen"


def offers_varlen(model: Any) -> bool:
    """Whether torch has the kernel and `model` (on its device, in its dtype, by its configuration) can use it."""
    import importlib.util

    import torch

    if importlib.util.find_spec("torch.nn.attention.varlen") is None:
        return False
    config = model.config.get_text_config()
    layers = set(getattr(config, "layer_types", None) or ("full_attention",))
    return (
        model.device.type == "cuda"
        and model.dtype in (torch.bfloat16, torch.float16)
        and bool(model._supports_attention_backend)
        and layers <= {"full_attention", "sliding_attention"}
        and not getattr(config, "attention_dropout", 0.0)
        and getattr(config, "attn_logit_softcapping", None) is None
    )


def take_varlen(model: Any) -> None:
    """Makes `model` attend by the variable-length kernel wherever it is given `cu_seq_lens_q`, else by `sdpa`."""
    from transformers import AttentionInterface
    from transformers.masking_utils import AttentionMaskInterface

    AttentionInterface.register(NAME, _attend)
    AttentionMaskInterface.register(NAME, _mask)
    model.set_attn_implementation(NAME)


def _mask(**facts: Any) -> Any:
    """No mask for rows without padding: their borders come as lengths. transformers' own where there is padding."""
    if facts.get("attention_mask") is None and facts["q_length"] == facts["kv_length"]:
        return None
    from transformers.masking_utils import sdpa_mask

    return sdpa_mask(**facts)


def _attend(
    module: Any, query: Any, key: Any, value: Any, attention_mask: Any, scaling: float | None = None, **rest: Any
) -> tuple[Any, None]:
    """`query` is (1, heads, tokens, size), `key` and `value` (1, key heads, tokens, size); (1, tokens, heads, size)."""
    borders = rest.get("cu_seq_lens_q")
    if borders is None:
        from transformers.integrations.sdpa_attention import sdpa_attention_forward

        out: Any = sdpa_attention_forward(module, query, key, value, attention_mask, scaling=scaling, **rest)[0]
        return out, None
    from torch.nn.attention.varlen import varlen_attn

    query, key, value = (tensor[0].transpose(0, 1) for tensor in (query, key, value))
    shared = query.shape[1] // key.shape[1]
    if shared > 1:
        key, value = (tensor.repeat_interleave(shared, dim=1) for tensor in (key, value))
    longest = rest["max_length_q"]
    window = rest.get("sliding_window")
    packed = varlen_attn(
        query, key, value, borders, borders, longest, longest, scale=scaling,
        window_size=(-1 if window is None else window - 1, 0),
    )  # fmt: skip
    return packed[None], None
