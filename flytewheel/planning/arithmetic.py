"""Time by arithmetic: floating-point operations of a token, over what this device does in a second.

| pass | operations a token, N parameters in matrices |
|---|---|
| forward | 2 N, and 4 × hidden × length a layer for attention (Kaplan et al. 2020, arXiv:2001.08361, §2.1) |
| backward, adapter only | as forward: gradients of activations, none of the frozen weights |
| backward, full weights | twice forward |
| recomputation, where activations are checkpointed | as forward |
| KL term of KTO | forward |
| reference of DPO and KTO | forward, once a training and not once an epoch |

The rate is that of one product of matrices as wide as the model's. Training reaches a part of it: small models less,
because of what lies between the products. The range is wide on purpose.
"""

from __future__ import annotations

import math
import time

from flytewheel.profiles import Device
from flytewheel.training.arguments import CHECKPOINTING_FROM
from flytewheel.training.memory import Sized

REACHED = (0.2, 0.8)  # of the product's rate; taken on purpose wide, not fitted to a measurement
_START_S = 15.0  # libraries and a small base
_MEASURE_S = 0.3


def count_operations(size: Sized, method: str, mean_length: float, *, full: bool) -> float:
    """Floating-point operations for one token of a training step of `method`; `full`: of all weights."""
    passes = 2 + full + ((size.parameters or 0) >= CHECKPOINTING_FROM) + (method == "kto")
    return count_forward(size, mean_length) * passes


def count_forward(size: Sized, mean_length: float) -> float:
    """Floating-point operations for one token of a pass forward, in sequences of `mean_length` tokens."""
    parameters = size.parameters or 0
    embeddings = [math.prod(shape) for name, shape in size.shapes.items() if "embed_tokens" in name]
    tied = not any("lm_head" in name for name in size.shapes)
    in_matrices = parameters - (0 if tied else sum(embeddings))
    attention = 4 * size.config["hidden_size"] * mean_length * size.config["num_hidden_layers"]
    forward: float = 2 * in_matrices + attention
    return forward


def measure_rate(size: Sized, device: Device, tokens: int) -> float:
    """Floating-point operations a second of a product of (tokens, hidden) with (hidden, feed-forward) on `device`."""
    import torch

    hidden = size.config["hidden_size"]
    wide = size.config.get("intermediate_size") or 4 * hidden
    dtype = getattr(torch, device.dtype)
    rows = max(1, min(tokens, 4096))
    left = torch.ones(rows, hidden, dtype=dtype, device=device.kind)
    right = torch.ones(hidden, wide, dtype=dtype, device=device.kind)
    total = left @ right  # the first one loads libraries
    count, started = 0, time.monotonic()
    while True:
        total = left @ right
        count += 1
        float(total[0, 0])  # waits for the device
        elapsed = time.monotonic() - started
        if elapsed > _MEASURE_S:
            return float(2 * rows * hidden * wide * count / elapsed)


def predict(operations: float, rate: float) -> tuple[float, float]:
    """Seconds at least and at most, the start of the process included."""
    least, most = REACHED
    return _START_S / 2 + operations / rate / most, _START_S + operations / rate / least
