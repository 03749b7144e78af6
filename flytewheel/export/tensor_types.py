"""Which type each tensor of a file gets, as llama.cpp's `llama_model_quantize` would choose it; and what a finished
file really holds.

A kind such as Q4_K_M is a mixture: more bits for the values of attention and the down projections of some layers, and
for the matrix that the logits come from. A K-quant packs 256 numbers of a row together, Q8_0 packs 32; where rows are
no multiple of that, llama.cpp takes another type without an error. Both are decided here before a byte is written, so
sizes are known, and read back afterwards, so that "Q4_K_M" never means less, or more, than it says.

The facts are those of the llama.cpp that llama-cpp-python 0.3.36 brings; the tests hold them against its quantiser,
tensor by tensor. What it does for Falcon and GLM alone is left out: neither can be exported.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from flytewheel.errors import ExportError
from flytewheel.export.ggml import block_numbers
from flytewheel.export.header import read_types


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of file: llama.cpp's number for it (`general.file_type`), the type most matrices get, all that are planned
    for matrices, and whether it gives more bits where they matter.
    """

    file_type: int
    matrix: str
    planned: frozenset[str]
    mixes: bool = False


KINDS: Mapping[str, Kind] = {
    "F32": Kind(0, "F32", frozenset({"F32"})),
    "F16": Kind(1, "F16", frozenset({"F16"})),
    "BF16": Kind(32, "BF16", frozenset({"BF16"})),
    "Q8_0": Kind(7, "Q8_0", frozenset({"Q8_0"})),
    "Q6_K": Kind(18, "Q6_K", frozenset({"Q6_K"})),
    "Q5_K_M": Kind(17, "Q5_K", frozenset({"Q5_K", "Q6_K"}), mixes=True),
    "Q4_K_M": Kind(15, "Q4_K", frozenset({"Q4_K", "Q5_K", "Q6_K"}), mixes=True),
}
_FALLBACK = {"Q4_K": "Q5_0", "Q5_K": "Q5_1", "Q6_K": "Q8_0"}  # where 256 does not divide a row; else F16
_OUTPUT, _EMBEDDINGS = "output.weight", ("token_embd.weight", "per_layer_token_embd.weight")
_VALUES = ("attn_v.weight", "attn_qkv.weight", "attn_kv_b.weight")
_LAYER = re.compile(r"blk\.(\d+)\.")
# Parts of names of matrices that are never quantised: small, or harmed by it. (Those of families that are exported.)
_KEPT = ("_norm.weight", "ffn_gate_inp.weight", "altup", "laurel", "per_layer_model_proj", "position_embd")
_WIDE_VALUES = {("llama", 80), ("qwen2", 80), ("deci", 80)}  # architectures and depths that llama.cpp calls 70B


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """What of a model's options decides about types; `heads` and `kv_heads` of its first layer."""

    architecture: str
    layers: int
    heads: int = 0
    kv_heads: int = 0
    experts: int = 0


@dataclass(frozen=True, slots=True)
class TensorTypes:
    """Types found in a GGUF: how many tensors of each, and the matrices that could not have the type asked for."""

    counts: dict[str, int]
    fallbacks: dict[str, str]


def order_names(names: Sequence[str]) -> list[str]:
    """Names as llama.cpp orders a file's tensors: those of no layer first, then layer by layer, each by its bytes."""

    def key(name: str) -> tuple[int, bytes]:
        found = _LAYER.match(name)
        return (int(found[1]) if found else -1, name.encode())

    return sorted(names, key=key)


def plan_types(kind: str, shapes: Mapping[str, tuple[int, ...]], facts: ModelFacts) -> dict[str, str]:
    """The type of each tensor of a file of `kind`, by name, in the file's order.

    Args:
        kind: One of `KINDS`.
        shapes: Of all tensors of the model, as in numpy.
        facts: Of the model.
    """
    asked = KINDS[kind]
    seen: Counter[str] = Counter()
    types = {}
    values = sum(any(part in name for part in _VALUES) for name in shapes)
    for name in order_names(list(shapes)):
        if not _may_be_rounded(name, shapes[name]):
            types[name] = "F32"
        elif asked.matrix in {"F32", "F16", "BF16"}:
            types[name] = asked.matrix
        else:
            wished = _choose(kind, name, shapes, facts, seen, values)
            types[name] = _fit(wished, shapes[name][-1])
    return types


def read_tensor_types(path: Path, kind: str) -> TensorTypes:
    """Reads the type of every tensor of a GGUF that was to be of `kind`.

    Raises:
        ExportError: llama.cpp does not take it for a GGUF.
    """
    return _count(read_types(path), kind)


def check_written(path: Path, kind: str, planned: Mapping[str, str]) -> TensorTypes:
    """Reads the types of a finished file back and holds them against the plan.

    Raises:
        ExportError: the file holds other tensors or types than were planned.
    """
    read = read_types(path)
    found = {name: of for name, (of, _) in read.items()}
    if found != planned:
        odd = min(name for name in {**found, **planned} if found.get(name) != planned.get(name))
        raise ExportError(f"{path.name}: {odd} is {found.get(odd)}, expected {planned.get(odd)}; export again")
    return _count(read, kind)


def _count(found: Mapping[str, tuple[str, tuple[int, ...]]], kind: str) -> TensorTypes:
    counts = Counter(of for of, _ in found.values())
    fallbacks = {
        name: of
        for name, (of, shape) in found.items()
        if _may_be_rounded(name, shape) and of not in KINDS[kind].planned
    }
    return TensorTypes(dict(sorted(counts.items())), fallbacks)


def _may_be_rounded(name: str, shape: tuple[int, ...]) -> bool:
    """Whether a tensor is a matrix that is stored in fewer bits; vectors, norms and routers stay fp32."""
    dimensions = len(shape) - next((at for at, size in enumerate(shape) if size > 1), len(shape))
    return dimensions > 1 and name.endswith("weight") and not any(part in name for part in _KEPT)


def _choose(
    kind: str,
    name: str,
    shapes: Mapping[str, tuple[int, ...]],
    facts: ModelFacts,
    seen: Counter[str],
    values: int,
) -> str:
    """The type that a quantised kind wishes for a matrix, whatever its shape. `seen` counts what came before it."""
    asked = KINDS[kind]
    if name == _OUTPUT or (_OUTPUT not in shapes and name in _EMBEDDINGS):
        whole = shapes[name][-1] % block_numbers(asked.matrix) == 0
        return "Q6_K" if whole and asked.matrix != "Q8_0" else "Q8_0"
    if name in _EMBEDDINGS:
        return asked.matrix
    if any(part in name for part in _VALUES):
        at = seen["values"]
        seen["values"] += 1
        wished = "Q6_K" if asked.mixes and _takes_more_bits(at, values) else asked.matrix
        if (facts.architecture, facts.layers) in _WIDE_VALUES and wished == "Q4_K":
            wished = "Q4_K" if facts.architecture == "llama" and facts.heads == facts.kv_heads else "Q5_K"
        return "Q8_0" if facts.experts == 8 else wished
    if "attn_k.weight" in name and facts.experts == 8:
        return "Q8_0"
    if "attn_output.weight" in name and facts.experts == 8 and kind == "Q4_K_M":
        return "Q5_K"
    if "ffn_down" in name:
        at = seen["down"]
        seen["down"] += 1
        layer = _LAYER.match(name)
        if facts.experts > 1 and layer:
            at = int(layer[1])
        return "Q6_K" if asked.mixes and _takes_more_bits(at, facts.layers) else asked.matrix
    return asked.matrix


def _takes_more_bits(layer: int, layers: int) -> bool:
    """The first and the last eighth of the layers, and every third between."""
    eighth = layers // 8
    return layer < eighth or layer >= 7 * layers // 8 or (layer - eighth) % 3 == 2


def _fit(wished: str, columns: int) -> str:
    if columns % block_numbers(wished) == 0:
        return wished
    fallback = _FALLBACK.get(wished, wished)
    return fallback if columns % block_numbers(fallback) == 0 else "F16"
