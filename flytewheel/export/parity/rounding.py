"""llama.cpp's arithmetic, told apart from llama.cpp: what rounding to a file's types does to a model in transformers.

A file differs from the trained weights for two honest reasons. Its matrices are rounded, to f16 or in blocks that share
a scale. And llama.cpp rounds what it multiplies them with, as its kernels for that type want it: f16 for F16, bf16 for
BF16, 8-bit integers in blocks of 32 (Q8_0 and the old kinds; the scale is f16) or of 256 (K-quants; the scale is f32).
Both are done here to a model in transformers, which knows nothing of llama.cpp's graph, names or order of rows.

Measured on the bundled model (2,222 positions; keys and values in f32), mean KL from the trained weights, nats a token:
F16 1.17e-9 predicted, 1.17e-9 in llama.cpp; Q8_0 2.44e-6 and 2.37e-6; Q6_K 1.57e-5 and 1.58e-5; Q4_K_M 3.69e-5 and
3.73e-5. Between the prediction and llama.cpp itself: 1.2e-10, 3.0e-7, 1.5e-7, 2.2e-7. Without the rounding of what is
multiplied, Q8_0 would be predicted at 1.0e-6, less than half.
"""

from __future__ import annotations

from typing import Any

from flytewheel.errors import ExportError
from flytewheel.export.ggml import encode_rows

_ACTIVATIONS = {"F32": 0, "F16": 16, "BF16": 17, "Q8_0": 32, "Q5_0": 32, "Q5_1": 32, "Q4_0": 32, "Q4_1": 32}
_K_BLOCK = 256


def round_rows(rows: Any, kind: str) -> Any:
    """Rows `(rows, columns)` in fp32 as they come back out of a tensor type.

    Raises:
        ExportError: the type cannot hold them.
    """
    import numpy as np

    if kind == "F32":
        return rows
    encoded = encode_rows(np.ascontiguousarray(rows, dtype=np.float32), kind)
    if encoded is None:
        raise ExportError(f"a weight does not fit {kind}; the model is broken, or take a kind with a wider range")
    return decode_rows(np.frombuffer(encoded, dtype=np.uint8).reshape(rows.shape[0], -1), kind).reshape(rows.shape)


def decode_rows(encoded: Any, kind: str) -> Any:
    """Rows in fp32 from the bytes `(rows, bytes)` of a tensor type: gguf's own code, not the quantiser's."""
    import gguf
    import numpy as np
    from gguf.quants import dequantize

    if kind in {"F32", "F16"}:
        plain = np.dtype(np.float32 if kind == "F32" else np.float16)
        return np.ascontiguousarray(encoded).view(plain).astype(np.float32)
    return dequantize(np.ascontiguousarray(encoded), gguf.GGMLQuantizationType[kind])


def round_inputs(inputs: Any, kind: str) -> Any:
    """A torch tensor `(…, columns)` in fp32 as llama.cpp rounds it before it multiplies it with a matrix of `kind`."""
    import torch

    block = _ACTIVATIONS.get(kind, _K_BLOCK)
    if block == 0:
        return inputs
    if block in {16, 17}:
        return inputs.to(torch.float16 if block == 16 else torch.bfloat16).float()
    parts = inputs.reshape(*inputs.shape[:-1], -1, block)
    scale = parts.abs().amax(dim=-1, keepdim=True) / 127
    whole = (parts * torch.where(scale > 0, 1 / scale, 0.0)).round()
    if block == 32:
        scale = scale.half().float()
    return (whole * scale).reshape(inputs.shape)
