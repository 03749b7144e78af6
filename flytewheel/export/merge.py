"""The reference for parity: the trained model in transformers, merged in fp32 and rounded as the GGUF holds it. Full
weights take the base's place as they are.

The rounding happens here, before the reference is taken, so that parity compares two programs on the same
numbers: what llama.cpp does with the f16 file against what transformers does with those f16 values in fp32 arithmetic.
What the rounding itself costs is the same for every week and is not a fault of the file.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from flytewheel.errors import BaseModelError, ExportError
from flytewheel.models import load_adapted, trained_files, trained_kind
from flytewheel.recipe import BaseModelSpec


def merge_adapter(base: BaseModelSpec, trained: Path | None) -> Any:
    """Loads what was trained in fp32 on the CPU as one model and rounds it to f16 values.

    Args:
        base: The base model.
        trained: A LoRA adapter, which is merged into the base, or full weights; none: the bare base.

    Returns:
        A transformers model in fp32 whose matrices hold values that f16 can hold; vectors (norms, biases) stay fp32.

    Raises:
        BaseModelError: the base cannot be loaded.
        ExportError: what was trained is not whole or does not fit the base, or a weight does not fit f16.
    """
    if trained is not None:
        _check_trained(trained)
    try:
        model: Any = load_adapted(base, trained, dtype="float32", device="cpu")
        if trained is not None and trained_kind(trained) == "adapter":
            model = model.merge_and_unload(safe_merge=True)
    except (ValueError, RuntimeError, OSError) as error:
        cause = " ".join(str(error).split())[:200]
        raise ExportError(f"{trained}: the adapter does not fit base.model {base.model!r} ({cause})") from error
    round_to_f16(model)
    return model.eval()


def _check_trained(folder: Path) -> None:
    try:
        trained_files(folder)
    except BaseModelError as error:
        raise ExportError(str(error)) from None


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
