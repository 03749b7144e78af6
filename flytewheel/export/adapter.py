"""What a LoRA adapter does to a model, tensor by tensor, so that it can be merged by ranges of rows.

A row of a merged matrix is `W[i] + s · B[i] A` (Hu et al. 2021, equation 3; `s` is α/r, or α/√r with rank-stabilised
LoRA), so a range of rows needs the same range of W and B and the whole of the small A. DoRA (Liu et al. 2024,
equation 5) then gives each row the length that was learnt for it, which needs no other row either. Sums are those that
PEFT's `merge_and_unload` takes for a base in fp32, in its order: the product, times the scale, onto the weight.

Options that are not known to leave the merge alone are refused, so that what a newer PEFT adds is never dropped in
silence.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flytewheel.errors import ExportError
from flytewheel.export.stored import StoredTensor
from flytewheel.models import ADAPTER_FILES

_PART = re.compile(
    r"(?P<module>.+)\.(?P<part>lora_A|lora_B|lora_embedding_A|lora_embedding_B|lora_magnitude_vector)"
    r"(?:\.default)?(?:\.weight)?"
)
_PREFIX = "base_model.model."
# Keys of adapter_config.json that say how it was trained, or are read below.
_HARMLESS = frozenset(
    {
        *("alpha_pattern", "auto_mapping", "base_model_name_or_path", "bias", "eva_config", "exclude_modules"),
        *("inference_mode", "init_lora_weights", "layers_pattern", "layers_to_transform", "loftq_config"),
        *("lora_alpha", "lora_dropout", "megatron_config", "megatron_core", "modules_to_save", "peft_type"),
        *("peft_version", "qalora_group_size", "r", "rank_pattern", "revision", "runtime_config", "target_modules"),
        *("task_type", "use_dora", "use_rslora"),
    }
)
_OWN_BASE = re.compile(r"pissa|olora|corda|loftq|lora_ga", re.IGNORECASE)  # these train beside a base that they changed
_ROWS = 16  # of a product at least: for a single row BLAS takes its vector routine, which sums in another order
_RANKS = range(2, 257)  # for which BLAS adds a product to a matrix as if it were a sum of its own: not in parts


@dataclass(frozen=True, slots=True)
class Delta:
    """What an adapter adds to one matrix: `scale · right @ left`, of `(rows, rank)` and `(rank, columns)`; with DoRA
    also the length `(rows,)` of every row.
    """

    left: Any
    right: Any
    scale: float
    lengths: Any = None

    def merge(self, part: Any, start: int, stop: int) -> Any:
        """Rows `start` to `stop` of the merged matrix, from those rows of the base in fp32 (changed in place)."""
        import torch

        rows = self.right.shape[0]
        low = max(0, min(start, rows - _ROWS))
        if self.scale == 1.0 and self.left.shape[0] in _RANKS and stop - start >= _ROWS:
            part.addmm_(self.right[start:stop], self.left)
        else:
            product = (self.right[low : max(stop, min(low + _ROWS, rows))] @ self.left)[start - low : stop - low]
            part += product.mul_(self.scale)
        if self.lengths is None:
            return part
        return (self.lengths[start:stop] / torch.linalg.norm(part, dim=1))[:, None] * part


@dataclass(frozen=True, slots=True)
class Adapter:
    """An adapter by the names of the model's tensors: what is added to some, and what stands in the place of others."""

    deltas: Mapping[str, Delta]
    replaced: Mapping[str, StoredTensor]

    @property
    def touched(self) -> frozenset[str]:
        """Names of the tensors that are not the base's any more."""
        return frozenset(self.deltas) | frozenset(self.replaced)


def read_adapter(folder: Path, stored: Mapping[str, StoredTensor], shapes: Mapping[str, tuple[int, ...]]) -> Adapter:
    """Reads a LoRA adapter's configuration, and the tensors of its file.

    Args:
        folder: Where the adapter is.
        stored: The tensors of its open file.
        shapes: The base's tensors; a tied output matrix has its name among them, too.

    Raises:
        ExportError: the adapter does not fit the base, or does what cannot be merged row by row.
    """
    config = _read_config(folder)
    parts: dict[str, dict[str, StoredTensor]] = {}
    replaced: dict[str, StoredTensor] = {}
    for key, tensor in stored.items():
        plain = key.removeprefix(_PREFIX).replace(".base_layer.", ".").replace(".modules_to_save.default.", ".")
        found = _PART.fullmatch(plain)
        if found and key.startswith(_PREFIX):
            parts.setdefault(f"{found['module']}.weight", {})[found["part"]] = tensor
        elif not key.startswith(_PREFIX) or ".lora_" in key:
            raise ExportError(f"{folder}: holds {key}, which is no part of a LoRA adapter; train it again")
        elif shapes.get(plain) != tensor.shape:
            raise ExportError(f"{folder}: the adapter does not fit the base, which has no {plain} of {tensor.shape}")
        else:
            replaced[plain] = tensor
    deltas = {name: _join(folder, config, name, found, shapes.get(name)) for name, found in parts.items()}
    return Adapter(deltas, replaced)


def _read_config(folder: Path) -> dict[str, Any]:
    try:
        config: dict[str, Any] = json.loads((folder / ADAPTER_FILES[0]).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ExportError(f"{folder / ADAPTER_FILES[0]}: expected JSON ({error}); train the adapter again") from None
    odd = {key: value for key, value in config.items() if value and key not in _HARMLESS}
    if config.get("peft_type", "LORA") != "LORA":
        odd["peft_type"] = config["peft_type"]
    if _OWN_BASE.match(str(config.get("init_lora_weights"))):
        odd["init_lora_weights"] = config["init_lora_weights"]
    for key, value in odd.items():
        raise ExportError(
            f"{folder}: an adapter with {key} = {value!r} cannot be merged row by row; train one without, or full "
            "weights"
        )
    return config


def _join(
    folder: Path,
    config: Mapping[str, Any],
    name: str,
    parts: Mapping[str, StoredTensor],
    shape: tuple[int, ...] | None,
) -> Delta:
    """One matrix's delta out of its parts."""
    import torch

    read = {part: tensor.read(0, tensor.shape[0]) for part, tensor in parts.items()}
    lengths = read.pop("lora_magnitude_vector", None)
    if set(read) == {"lora_A", "lora_B"}:
        left, right = read["lora_A"], read["lora_B"]
    elif set(read) == {"lora_embedding_A", "lora_embedding_B"} and lengths is None:
        left, right = read["lora_embedding_B"].T, read["lora_embedding_A"].T.contiguous()
    else:
        raise ExportError(f"{folder}: holds only {', '.join(sorted(parts))} of {name}; train it again")
    if shape is None:
        raise ExportError(f"{folder}: the adapter does not fit the base, which has no whole {name}")
    rank = left.shape[0]
    if shape != (right.shape[0], left.shape[1]) or right.shape[1] != rank:
        raise ExportError(f"{folder}: the adapter does not fit the base: {name} has another shape")
    if lengths is not None:
        lengths = lengths.reshape(-1)
        if lengths.shape[0] != shape[0]:
            raise ExportError(f"{folder}: the adapter does not fit the base: {name} has another number of rows")
    if bool(config.get("use_dora")) != (lengths is not None):
        raise ExportError(f"{folder}: use_dora is {config.get('use_dora')}, the lengths of {name} say otherwise")
    for part, tensor in (("A", left), ("B", right)):
        if not bool(torch.isfinite(tensor).all()):
            raise ExportError(f"{folder}: {part} of {name} holds a number that is not finite; train it again")
    alpha = _patterned(config.get("alpha_pattern"), name, config["lora_alpha"])
    scale = alpha / (math.sqrt(rank) if config.get("use_rslora") else rank)
    if scale > 0 and math.frexp(scale)[0] == 0.5:  # a power of two, which rounds nothing: one multiplication less
        return Delta(left, right * scale, 1.0, lengths)
    return Delta(left, right, scale, lengths)


def _patterned(patterns: Mapping[str, Any] | None, name: str, default: float) -> float:
    """PEFT's override for the modules whose name ends as the pattern says; the first pattern that fits counts."""
    module = name.removesuffix(".weight")
    for pattern, value in (patterns or {}).items():
        if re.match(rf"(.*\.)?({pattern})$", module):
            return float(value)
    return float(default)
