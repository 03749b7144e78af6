"""Attention over rows that lie one after the other, without padding and without a mask: each row attends to itself.

transformers' sdpa keeps packed rows apart by a (seq, seq) mask, with which torch leaves its flash kernel and computes
what is masked too. torch has a flash kernel for rows of differing lengths (`torch.nn.attention.varlen`, from Ampere on,
bf16 and fp16); it needs no further package. Elsewhere the rows are computed one by one, which is exact, and slow: for
tests.
"""

from __future__ import annotations

import importlib.util
from itertools import pairwise
from typing import Any

NAME = "flytewheel_rows"  # in transformers' table of attention functions
_LEAST_CAPABILITY = (8, 0)


def attend_by_rows(
    module: Any,
    query: Any,
    key: Any,
    value: Any,
    attention_mask: Any,
    *,
    dropout: float = 0.0,
    scaling: float | None = None,
    cu_seq_lens_q: Any = None,
    max_length_q: int | None = None,
    **options: Any,
) -> tuple[Any, None]:
    """An attention function as transformers calls it.

    Args:
        module: the attention layer.
        query: (1, heads, tokens, head size) of all rows.
        key: (1, key heads, tokens, head size).
        value: as `key`.
        attention_mask: `None` where rows are told apart by `cu_seq_lens_q`.
        dropout: of attention shares; not offered together with rows.
        scaling: of the scores.
        cu_seq_lens_q: where rows begin, and the end of the last, (rows + 1,), int32; `None`: an ordinary batch, for
            torch's causal kernel.
        max_length_q: of the longest row.
        options: others that transformers hands down.

    Returns:
        (1, tokens, heads, head size), and `None` for the shares.

    Raises:
        ValueError: dropout together with rows.
    """
    if cu_seq_lens_q is None:
        from transformers.integrations.sdpa_attention import sdpa_attention_forward

        found: tuple[Any, None] = sdpa_attention_forward(
            module, query, key, value, attention_mask, dropout=dropout, scaling=scaling, **options
        )
        return found
    if dropout:
        raise ValueError("expected attention without dropout where rows are packed")
    q, k, v = (part.squeeze(0).transpose(0, 1).to(value.dtype) for part in (query, key, value))
    attend = _attend_on_cuda if query.is_cuda else _attend_one_by_one
    return attend(q, k, v, cu_seq_lens_q, max_length_q, scaling).unsqueeze(0), None


def _attend_on_cuda(query: Any, key: Any, value: Any, starts: Any, longest: int | None, scale: float | None) -> Any:
    from torch.nn.attention.varlen import varlen_attn

    shared = query.shape[1] // key.shape[1]
    if shared > 1:  # torch 2.10 and 2.11 cannot share keys
        key, value = (part.repeat_interleave(shared, dim=1) for part in (key, value))
    return varlen_attn(
        query, key, value, starts, starts, longest or len(query), longest or len(query),
        scale=scale, window_size=(-1, 0),
    )  # fmt: skip


def _attend_one_by_one(query: Any, key: Any, value: Any, starts: Any, longest: int | None, scale: float | None) -> Any:
    import torch
    from torch.nn.functional import scaled_dot_product_attention

    found = []
    for start, end in pairwise(starts.tolist()):
        q, k, v = (part[start:end].transpose(0, 1).unsqueeze(0) for part in (query, key, value))
        row = scaled_dot_product_attention(
            q, k, v, is_causal=True, scale=scale, enable_gqa=query.shape[1] != key.shape[1]
        )
        found.append(row.squeeze(0).transpose(0, 1))
    return torch.cat(found)


def suits_rows(model: Any) -> bool:
    """Whether the flash kernel for rows can stand in for the attention of `model`, where it is and as it is."""
    import torch

    config, weight = model.config.get_text_config(), model.get_input_embeddings().weight
    plain = model.config._attn_implementation == "sdpa" and not any(
        getattr(config, name, None) for name in ("sliding_window", "attn_logit_softcapping", "attention_dropout")
    )
    full = set(getattr(config, "layer_types", None) or ["full_attention"]) == {"full_attention"}
    return (
        plain
        and full
        and weight.is_cuda
        and weight.dtype in (torch.bfloat16, torch.float16)
        and torch.cuda.get_device_capability(weight.device) >= _LEAST_CAPABILITY
        and importlib.util.find_spec("torch.nn.attention.varlen") is not None
    )


def take_rows_flat(model: Any) -> bool:
    """Whether batches of packed rows are to be laid out flat for `model`, which attends by rows then.

    Flash attention by recipe does so by itself, in a batch of one sequence only.
    """
    if suits_rows(model):
        use_rows(model)
        return True
    return str(model.config._attn_implementation).startswith("flash_attention")


def use_rows(model: Any) -> None:
    """Makes `model` attend by rows."""
    from transformers import AttentionInterface

    AttentionInterface.register(NAME, attend_by_rows)
    model.set_attn_implementation(NAME)
