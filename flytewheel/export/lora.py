"""The adapter alone as a GGUF: a server that has the base in memory serves many versions by it, each request at its own
scale.

llama.cpp adds `scale · α/r · B (A x)` to what a base matrix gives, with α from the file and r from the shape of B (its
`llama-adapter.cpp`). B's rows stand in the order that the family gives the matrix's own rows, A's columns are never
moved. One α holds for all matrices, so where PEFT scales them differently (rank-stabilised, alpha patterns, ranks of
their own), what is over goes into B. On an embedding the roles are exchanged: A has a row for each token.

What llama.cpp cannot be told is not written, and the reason is said (`find_obstacle`); the merged file has it all the
same: DoRA's lengths, whole tensors beside the adapter, and a change to an embedding that is tied to the output matrix.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from flytewheel.errors import ExportError
from flytewheel.export.families import PlannedTensor, find_family
from flytewheel.export.source import Source

_INPUT, _OUTPUT = "token_embd.weight", "output.weight"


def find_obstacle(source: Source) -> str | None:
    """Why what was trained cannot be an adapter file; None where it can."""
    adapter = source.adapter
    if not adapter.deltas and not adapter.replaced:
        return "no LoRA adapter was trained"
    if adapter.replaced:
        return f"{min(adapter.replaced)} was trained as a whole, which llama.cpp's adapters cannot hold"
    if any(delta.lengths is not None for delta in adapter.deltas.values()):
        return "llama.cpp's adapters cannot hold DoRA's lengths"
    if source.base_is_tied and adapter.touched & {"lm_head.weight", "model.embed_tokens.weight"}:
        return "it changes an embedding that the base ties to its output matrix, which llama.cpp holds once"
    planned = {tensor.source for tensor in _plan(source)}
    return next((f"{name} has no place in the GGUF" for name in sorted(adapter.touched - planned)), None)


def write_lora(source: Source, path: Path, *, name: str) -> int:
    """Writes the adapter of an open source to `path`, in f16; the same adapter gives the same bytes.

    Args:
        source: The trained model, with an adapter that has no obstacle.
        path: Written in place.
        name: `general.name` of the file.

    Returns:
        How many matrices it changes.

    Raises:
        ExportError: a number does not fit f16.
    """
    import gguf
    import numpy as np

    deltas = source.adapter.deltas
    planned = [tensor for tensor in _plan(source) if tensor.source in deltas]
    first = deltas[str(planned[0].source)]
    alpha = first.scale * first.right.shape[1]
    writer = gguf.GGUFWriter(str(path), find_family(source.config).architecture)
    try:
        writer.add_type(gguf.GGUFType.ADAPTER)
        writer.add_name(name)
        writer.add_file_type(gguf.LlamaFileType.MOSTLY_F16)
        writer.add_string(gguf.Keys.Adapter.TYPE, "lora")
        writer.add_float32(gguf.Keys.Adapter.LORA_ALPHA, alpha)
        for tensor in planned:
            left, right = _take_sides(deltas[str(tensor.source)], tensor, alpha)
            for side, values in (("a", left), ("b", right)):
                with np.errstate(over="ignore"):
                    half = np.ascontiguousarray(values.astype(np.float16))
                if not np.isfinite(half).all():
                    raise ExportError(f"the adapter of {tensor.source} holds a number that f16 cannot; train it again")
                writer.add_tensor(f"{tensor.name}.lora_{side}", half)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
    finally:
        writer.close()
    return len(planned)


def _plan(source: Source) -> list[PlannedTensor]:
    return list(find_family(source.config).plan(source.config, source.tensors))


def _take_sides(delta: Any, tensor: PlannedTensor, alpha: float) -> tuple[Any, Any]:
    """A and B of one matrix as llama.cpp multiplies them, fp32 arrays."""
    rank = delta.right.shape[1]
    left, right = delta.left.numpy(), delta.right.numpy() * (delta.scale * rank / alpha)
    if tensor.order is not None:
        right = right[tensor.order]
    if tensor.name == _INPUT:
        return right, left.T
    return left, right
