"""What a family says about a model: its options for llama.cpp, and the plan of its tensors.

A planned tensor is described so that it can be written by ranges of rows, never as a whole: which tensor of the source
its rows come from, in what order, and what is added to them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from flytewheel.errors import ExportError
from flytewheel.export.source import SourceTensor


@dataclass(frozen=True, slots=True)
class PlannedTensor:
    """One tensor of the GGUF. Row `i` of it is row `order[i]` (or `i`) of the tensor `source`, plus `shift`; one that
    the configuration alone decides has `values` instead. `shape` is as in numpy, rows first.
    """

    name: str
    shape: tuple[int, ...]
    source: str | None = None
    order: Any = None
    shift: float = 0.0
    values: Any = None


@dataclass(frozen=True, slots=True)
class Family:
    """One architecture of llama.cpp. `refused` names what a configuration may ask for that cannot be written
    faithfully, `write_options` writes its keys into a `gguf.GGUFWriter`, `plan` places the source's tensors.
    """

    architecture: str
    refused: Callable[[Any], Mapping[str, bool]]
    write_options: Callable[[Any, Any], None]
    plan: Callable[[Any, Mapping[str, SourceTensor]], Sequence[PlannedTensor]]


def find_name(architecture: str, layers: int, key: str) -> str:
    """llama.cpp's name for a tensor of transformers.

    Raises:
        ExportError: it has none.
    """
    import gguf

    kinds = {value: kind for kind, value in gguf.MODEL_ARCH_NAMES.items()}
    names = gguf.get_tensor_name_map(kinds[architecture], layers)
    name: str | None = names.get_name(key, try_suffixes=(".weight", ".bias"))
    if name is None:
        raise ExportError(f"tensor {key} has no place in the GGUF; export the merged model, not one with adapters")
    return name


def place_plainly(
    architecture: str, config: Any, tensors: Mapping[str, SourceTensor], *, layers: int
) -> list[PlannedTensor]:
    """Places every tensor under llama.cpp's name as it is; a tied output matrix is left out: llama.cpp takes the input
    embedding where there is none.
    """
    return [
        PlannedTensor(find_name(architecture, layers, name), tensor.shape, name)
        for name, tensor in tensors.items()
        if not (name == "lm_head.weight" and config.tie_word_embeddings)
    ]
