"""Merges the adapter into the base weights, in fp32, and rounds them as the GGUF will hold them.

The rounding happens here, before the reference for parity is taken, so that parity compares two programs on the same
numbers: what llama.cpp does with the f16 file against what transformers does with those f16 values in fp32 arithmetic.
What the rounding itself costs is the same for every week and is not a fault of the file.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from flytewheel.errors import ExportError
from flytewheel.models import load_adapted
from flytewheel.recipe import BaseModelSpec


def merge_adapter(base: BaseModelSpec, adapter: Path | None) -> Any:
    """Loads the base in fp32 on the CPU, merges the LoRA adapter (none: the bare base) and rounds to f16 values.

    Returns:
        A transformers model in fp32 whose matrices hold values that f16 can hold; vectors (norms, biases) stay fp32.

    Raises:
        BaseModelError: the base cannot be loaded.
        ExportError: the adapter does not fit the base, or a weight does not fit f16.
    """
    if adapter is not None and not (adapter / "adapter_config.json").is_file():
        raise ExportError(f"{adapter}: expected a PEFT adapter folder, found no adapter_config.json; train again")
    try:
        model: Any = load_adapted(base, adapter, dtype="float32", device="cpu")
        if adapter is not None:
            model = model.merge_and_unload(safe_merge=True)
    except (ValueError, RuntimeError, OSError) as error:
        cause = " ".join(str(error).split())[:200]
        raise ExportError(f"{adapter}: the adapter does not fit base.model {base.model!r} ({cause})") from error
    round_to_f16(model)
    return model.eval()


def round_to_f16(model: Any) -> None:
    """Rounds every matrix of the model to the nearest f16 value, in place.

    Raises:
        ExportError: a weight is not finite, or larger than f16's 65,504.
    """
    import torch

    with torch.no_grad():
        for name, weight in model.named_parameters():
            if weight.dim() > 1:
                weight.copy_(weight.to(torch.float16).to(weight.dtype))
            if not bool(torch.isfinite(weight).all()):
                raise ExportError(f"{name} holds a weight that f16 cannot hold (largest is 65504); the model is broken")
