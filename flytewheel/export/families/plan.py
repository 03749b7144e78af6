"""What a family says about a model: its options for llama.cpp, and the plan of its tensors.

A planned tensor is described so that it can be written by ranges of rows, never as a whole: which tensor of the source
its rows come from, in what order, and what is added to them. Which tensors a model has to have, and of what shape,
follows from its configuration; a model with one too few, one too many or one of another shape is refused here, because
llama.cpp would say so only when the file is opened, or not at all.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from flytewheel.errors import ExportError
from flytewheel.export.source import SourceTensor

Shapes = Mapping[str, tuple[int, ...]]


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
    name: str | None = _name_map(architecture, layers).get_name(key, try_suffixes=(".weight", ".bias"))
    if name is None:
        raise ExportError(f"tensor {key} has no place in a GGUF of {architecture}; export a plain model of this family")
    return name


@cache  # some 50 ms for 16 layers, and asked for every tensor
def _name_map(architecture: str, layers: int) -> Any:
    import gguf

    kinds = {value: kind for kind, value in gguf.MODEL_ARCH_NAMES.items()}
    return gguf.get_tensor_name_map(kinds[architecture], layers)


def place_plainly(
    architecture: str, config: Any, tensors: Mapping[str, SourceTensor], shapes: Shapes, *, prefix: str = "model."
) -> list[PlannedTensor]:
    """Places every tensor under llama.cpp's name as it is, in the order of `shapes`.

    Args:
        architecture: Of llama.cpp.
        config: The model's.
        tensors: What it holds; those outside `prefix` are no part of a language model, except for its output matrix.
        shapes: The tensors that it has to hold, as of a model whose names begin with `model.`.
        prefix: What their names begin with instead.

    Raises:
        ExportError: a tensor is missing, has another shape than its configuration says, or has no place.
    """
    sources = {name: name.replace("model.", prefix, 1) if name.startswith("model.") else name for name in shapes}
    for name, source in sources.items():
        if source not in tensors:
            raise ExportError(f"{source} is missing, which a model of its config.json has; get the model again")
        if tensors[source].shape != shapes[name]:
            raise ExportError(
                f"{source} has shape {tensors[source].shape}, but by config.json {shapes[name]}; they do not match"
            )
    for source in tensors:
        if source not in sources.values() and (source.startswith(prefix) or not source.startswith("model.")):
            raise ExportError(
                f"tensor {source} has no place in a GGUF of {architecture}; export a plain model of this family"
            )
    layers = config.num_hidden_layers
    return [PlannedTensor(find_name(architecture, layers, name), shapes[name], sources[name]) for name in shapes]
