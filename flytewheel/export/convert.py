"""Writes a transformers model as GGUF in F16: matrices f16, vectors f32, as llama.cpp's own converter does.

No package ships that converter, so this is a writer of our own for four families that differ in little: Llama and
Mistral (q and k rows reordered, because llama.cpp rotates neighbouring pairs where transformers rotates halves), Qwen
2 (biases) and Qwen 3 (norms on q and k). Everything else is refused; `parity` tells whether what was written is
right.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flytewheel.errors import ExportError
from flytewheel.export.vocabulary import write_vocabulary

_FAMILIES = {
    "LlamaForCausalLM": "llama",
    "MistralForCausalLM": "llama",
    "Qwen2ForCausalLM": "qwen2",
    "Qwen3ForCausalLM": "qwen3",
}


@dataclass(frozen=True, slots=True)
class Conversion:
    """What was written: llama.cpp's architecture and pre-tokenizer, and the number of tensors."""

    architecture: str
    pre_tokenizer: str
    tensors: int


def write_gguf(model: Any, tokenizer: Any, path: Path, *, name: str) -> Conversion:
    """Writes the model and its tokenizer to `path`; the same weights give the same bytes.

    Args:
        model: A causal language model of transformers with dense weights on the CPU.
        tokenizer: Its tokenizer, byte-level BPE.
        path: Written in place: the caller gives a temporary name and renames.
        name: `general.name` of the file.

    Raises:
        ExportError: the architecture, its options or the tokenizer cannot be written faithfully.
    """
    import gguf
    import numpy as np

    config = model.config
    architecture = find_architecture(config)
    writer = gguf.GGUFWriter(str(path), architecture)
    try:
        _write_options(writer, config, name)
        pre = write_vocabulary(writer, tokenizer, config.vocab_size)
        tensors = list(_named_tensors(model, architecture))
        for tensor_name, tensor in tensors:
            dtype = np.dtype(np.float16 if tensor.dim() > 1 else np.float32)
            writer.add_tensor_info(tensor_name, tuple(tensor.shape), dtype, tensor.numel() * dtype.itemsize)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_ti_data_to_file()
        for _, tensor in tensors:  # one at a time: a second copy of a large model would not fit beside the first
            dtype = np.dtype(np.float16 if tensor.dim() > 1 else np.float32)
            writer.write_tensor_data(np.ascontiguousarray(tensor.detach().numpy().astype(dtype)))
    finally:
        writer.close()
    return Conversion(architecture, pre, len(tensors))


def find_architecture(config: Any) -> str:
    """llama.cpp's name for the model's architecture.

    Raises:
        ExportError: it is not one of those that can be written, or uses an option of it that cannot.
    """
    given = (getattr(config, "architectures", None) or ["unknown"])[0]
    if given not in _FAMILIES:
        raise ExportError(f"architecture {given} cannot be written as GGUF: expected one of {', '.join(_FAMILIES)}")
    refused = {
        "a sliding window": bool(
            getattr(config, "sliding_window", None)
            and getattr(config, "use_sliding_window", given.startswith("Mistral"))
        ),
        f"activation {config.hidden_act!r}": config.hidden_act != "silu",
        "a partial rotation": (rope_options(config).get("partial_rotary_factor") or 1.0) != 1.0,
        "biases in its feed-forward layers": bool(getattr(config, "mlp_bias", False)),
    }
    for what, present in refused.items():
        if present:
            raise ExportError(f"{given} with {what} cannot be written as GGUF; take a base without")
    return _FAMILIES[given]


def rope_options(config: Any) -> dict[str, Any]:
    """The options of the rotary embedding; transformers keeps theta in here, no longer beside it."""
    return dict(getattr(config, "rope_parameters", None) or {})


def rope_base(config: Any) -> float:
    """Theta of the rotary embedding."""
    theta = rope_options(config).get("rope_theta", getattr(config, "rope_theta", None))
    if theta is None:
        raise ExportError("the model's config gives no rope_theta; take a base whose config.json is complete")
    return float(theta)


def permute(tensor: Any, heads: int) -> Any:
    """Reorders the rows of q or k, `(heads * head_dim, …)`, from halves that rotate together to neighbours that do."""
    rows = tensor.shape[0]
    return tensor.reshape(heads, 2, rows // heads // 2, *tensor.shape[1:]).swapaxes(1, 2).reshape(tensor.shape)


def find_tensor_name(names: Any, key: str) -> str:
    """llama.cpp's name for a tensor of transformers."""
    name: str | None = names.get_name(key, try_suffixes=(".weight", ".bias"))
    if name is None:
        raise ExportError(f"tensor {key} has no place in the GGUF; export the merged model, not one with adapters")
    return name


def _head_dim(config: Any) -> int:
    return int(getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads)


def _write_options(writer: Any, config: Any, name: str) -> None:
    import gguf

    head_dim, rope = _head_dim(config), rope_options(config)
    writer.add_name(name)
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_F16)
    writer.add_vocab_size(config.vocab_size)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_key_length(head_dim)
    writer.add_value_length(head_dim)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_dimension_count(head_dim)
    writer.add_rope_freq_base(rope_base(config))
    kind = rope.get("rope_type", "default")
    if kind == "linear":
        writer.add_rope_scaling_type(gguf.RopeScalingType.LINEAR)
        writer.add_rope_scaling_factor(float(rope["factor"]))
    elif kind not in {"default", "llama3"}:
        raise ExportError(f"rope type {kind!r} cannot be written as GGUF: expected default, linear or llama3")


def _named_tensors(model: Any, architecture: str) -> Iterator[tuple[str, Any]]:
    """Every tensor under llama.cpp's name, in the order of the model."""
    import gguf

    config = model.config
    kinds = {value: kind for kind, value in gguf.MODEL_ARCH_NAMES.items()}
    names = gguf.get_tensor_name_map(kinds[architecture], config.num_hidden_layers)
    heads = {"q_proj": config.num_attention_heads, "k_proj": config.num_key_value_heads}
    for key, tensor in model.state_dict().items():
        if key == "lm_head.weight" and config.tie_word_embeddings:
            continue  # llama.cpp takes the input embedding where there is no output matrix
        layer = key.split(".")[-2]
        if architecture == "llama" and layer in heads:
            tensor = permute(tensor, heads[layer])
        yield find_tensor_name(names, key), tensor
    if rope_options(config).get("rope_type") == "llama3":
        yield "rope_freqs.weight", rope_factors(config)


def rope_factors(config: Any) -> Any:
    """Llama 3.1's divisors of the rotary frequencies, `(head_dim / 2,)`: long waves are stretched, short ones kept."""
    import torch

    rope, dim = rope_options(config), _head_dim(config)
    factor, original = float(rope["factor"]), float(rope["original_max_position_embeddings"])
    low, high = float(rope.get("low_freq_factor", 1.0)), float(rope.get("high_freq_factor", 4.0))
    factors = []
    for index in range(0, dim, 2):
        wavelength = 2 * math.pi * rope_base(config) ** (index / dim)
        if wavelength < original / high:
            factors.append(1.0)
        elif wavelength > original / low:
            factors.append(factor)
        else:
            smooth = (original / wavelength - low) / (high - low)
            factors.append(1 / ((1 - smooth) / factor + smooth))
    return torch.tensor(factors, dtype=torch.float32)
