"""The trained model as tensors by rows: base weights from safetensors, the adapter added as they are read.

Nothing is loaded as a whole. A row of a merged matrix is `W[i] + s · B[i] A` (LoRA, Hu et al. 2021, equation 3; `s` is
α/r, or α/√r with rank-stabilised LoRA), so any range of rows can be had from the same range of W and B and the whole
of the small A. Sums are taken in fp32, whatever type the base is stored in.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from flytewheel import weights
from flytewheel.errors import BaseModelError, ExportError
from flytewheel.models import ADAPTER_FILES, open_base, trained_files, trained_kind
from flytewheel.recipe import BaseModelSpec

_LORA = re.compile(r"base_model\.model\.(?P<module>.+)\.lora_(?P<side>[AB])(?:\.default)?\.weight")
_PLAIN = {"peft_type": "LORA", "use_dora": False, "fan_in_fan_out": False, "bias": "none", "modules_to_save": None}


@dataclass(frozen=True, slots=True)
class SourceTensor:
    """A tensor of the model: its shape, and the type that it is stored in (`BF16`, `F16`, `F32`)."""

    name: str
    shape: tuple[int, ...]
    dtype: str


@dataclass(frozen=True, slots=True)
class _Delta:
    """What an adapter adds to one matrix: `scale · right @ left`, of `(rows, rank)` and `(rank, columns)`."""

    left: Any
    right: Any
    scale: float


class Source:
    """An open model: a folder of safetensors, and maybe an adapter on top. A context manager."""

    def __init__(self, folder: Path, adapter: Path | None = None) -> None:
        """Opens the model in `folder`, and the LoRA adapter in the folder `adapter`.

        Raises:
            BaseModelError: a file that must not be loaded, or one that is missing.
            ExportError: the adapter does not fit the model, or does what cannot be merged row by row.
        """
        from safetensors import safe_open
        from transformers import AutoConfig

        self.folder = folder
        self.config: Any = AutoConfig.from_pretrained(str(folder), trust_remote_code=False)
        self._open = ExitStack()
        self._files: dict[str, Any] = {}
        self.tensors: dict[str, SourceTensor] = {}
        try:
            for shard in weights.list_shards(folder):
                file = self._open.enter_context(safe_open(str(folder / shard), framework="pt"))
                for name in file.keys():  # noqa: SIM118 - no mapping
                    part = file.get_slice(name)
                    self._files[name] = file
                    self.tensors[name] = SourceTensor(name, tuple(part.get_shape()), str(part.get_dtype()))
            self._deltas: Mapping[str, _Delta] = {} if adapter is None else _read_adapter(adapter, self.tensors)
        except BaseException:
            self._open.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open.close()

    def rows(self, name: str, start: int, stop: int) -> Any:
        """Rows `start` to `stop` of a tensor as the trained model has them: a fp32 array `(stop - start, …)`.

        Raises:
            ExportError: one of the numbers is not finite.
        """
        import numpy as np
        import torch

        part = self._files[name].get_slice(name)[start:stop].to(torch.float32)
        delta = self._deltas.get(name)
        if delta is not None:
            part = torch.addmm(part, delta.right[start:stop], delta.left, alpha=delta.scale)
        found = part.numpy()
        if not np.isfinite(found).all():
            raise ExportError(f"{name} holds a weight that is not finite; the model is broken, train it again")
        return found


def open_source(base: BaseModelSpec, trained: Path | None) -> Source:
    """Opens what was trained: an adapter on the base, or full weights in its place; none: the bare base.

    Raises:
        BaseModelError: the base cannot be read.
        ExportError: what was trained is not whole, or does not fit the base.
    """
    if trained is None:
        return Source(open_base(base, with_weights=True))
    try:
        trained_files(trained)
        full = trained_kind(trained) == "full"
    except BaseModelError as error:
        raise ExportError(str(error)) from None
    if full:
        weights.check_base(trained)
        return Source(trained)
    weights.check_adapter(trained)
    return Source(open_base(base, with_weights=True), trained)


def _read_adapter(folder: Path, tensors: Mapping[str, SourceTensor]) -> dict[str, _Delta]:
    from safetensors.torch import load_file

    config = json.loads((folder / ADAPTER_FILES[0]).read_text(encoding="utf-8"))
    for key, plain in _PLAIN.items():
        if config.get(key, plain) not in (plain, [] if plain is None else plain):
            raise ExportError(f"{folder}: an adapter with {key} = {config[key]!r} cannot be merged row by row")
    sides: dict[str, dict[str, Any]] = {}
    for key, tensor in load_file(str(folder / ADAPTER_FILES[1])).items():
        found = _LORA.fullmatch(key)
        if not found:
            raise ExportError(f"{folder}: holds {key}, which is no part of a LoRA adapter; train it again")
        sides.setdefault(f"{found['module']}.weight", {})[found["side"]] = tensor.float()
    deltas = {}
    for name, pair in sides.items():
        if set(pair) != {"A", "B"} or name not in tensors:
            raise ExportError(f"{folder}: the adapter does not fit the base, which has no whole {name}")
        rank = pair["A"].shape[0]
        if tensors[name].shape != (pair["B"].shape[0], pair["A"].shape[1]) or pair["B"].shape[1] != rank:
            raise ExportError(f"{folder}: the adapter does not fit the base: {name} has another shape")
        alpha = _patterned(config.get("alpha_pattern"), name, config["lora_alpha"])
        deltas[name] = _Delta(pair["A"], pair["B"], alpha / (math.sqrt(rank) if config.get("use_rslora") else rank))
    return deltas


def _patterned(patterns: Mapping[str, Any] | None, name: str, default: float) -> float:
    """PEFT's override for the modules whose name ends as the pattern says."""
    module = name.removesuffix(".weight")
    for pattern, value in (patterns or {}).items():
        if re.fullmatch(rf"(.*\.)?({pattern})", module):
            return float(value)
    return float(default)
