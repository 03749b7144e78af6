"""Computes a padded batch as one sequence without padding: rows end to end, each attending to itself only.

TRL's alignment trainers pad both answers of every pair to the longest of a batch, and have no padding-free way any more
(1.16 refuses the flag). `flatten_forward` wraps the forward that they call (TRL's fused head, which gives one
log-probability a token): padding is left out before, and put back after, so that the trainer sees the shapes it knows.
The borders go along as `cu_seq_lens_q` for kernels, and as positions that start at 0 for transformers' masks.
"""

from __future__ import annotations

import functools
import types
from typing import Any

_PER_TOKEN = ("log_probs", "entropy", "log_sum_sq_probs", "mean_logits", "is_top1")
_IGNORED = -100


def flatten_forward(model: Any) -> None:
    """Wraps the forward of `model`, a causal one with TRL's fused head, for calls with the head and an attention mask.

    Values are those of the padded batch, to rounding; calls of any other kind go through unchanged.
    """
    inner = model.forward

    @functools.wraps(type(model).forward)
    def forward(self: Any, *args: Any, fused_lm_head: bool = False, **inputs: Any) -> Any:
        mask = inputs.get("attention_mask")
        if not fused_lm_head or args or mask is None or mask.dim() != 2:
            return inner(*args, fused_lm_head=fused_lm_head, **inputs)
        return _forward_flat(inner, mask.bool(), **{key: own for key, own in inputs.items() if key != "attention_mask"})

    model.forward = types.MethodType(forward, model)


def _forward_flat(inner: Any, keep: Any, *, input_ids: Any, labels: Any, **inputs: Any) -> Any:
    """`keep`, `input_ids` and `labels` are (rows, tokens); per-token outputs are (rows, tokens - 1), 0 at padding."""
    import torch

    positions = keep.cumsum(dim=1) - 1
    lengths = keep.sum(dim=1)
    borders = torch.nn.functional.pad(lengths.cumsum(dim=0), (1, 0)).to(torch.int32)
    # The first token of a row is nobody's next one: without this the row before would be asked for it.
    labels = labels.masked_fill(positions == 0, _IGNORED)
    longest = keep.shape[1]
    out = inner(
        input_ids=input_ids[keep][None], labels=labels[keep][None], position_ids=positions[keep][None],
        cu_seq_lens_q=borders, cu_seq_lens_k=borders, max_length_q=longest, max_length_k=longest,
        fused_lm_head=True, **inputs,
    )  # fmt: skip

    def unflatten(values: Any) -> Any:
        own = torch.nn.functional.pad(values[0], (1, 0))  # value t is of token t, as a next token
        return own.new_zeros(keep.shape).masked_scatter(keep, own)[:, 1:]

    found = {name: unflatten(value) for name in _PER_TOKEN if (value := out.get(name)) is not None}
    return type(out)(**{**out, **found, "label_mask": labels[:, 1:] != _IGNORED})
