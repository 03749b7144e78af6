"""The plan of types against `llama_model_quantize`, on files that hold a few rows of each matrix of a model."""

from __future__ import annotations

import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest

from flytewheel.errors import ExportError
from flytewheel.export.ggml import encode_rows
from flytewheel.export.header import lay_out, pack_keys, read_types
from flytewheel.export.tensor_types import (
    KINDS,
    ModelFacts,
    check_written,
    order_names,
    plan_types,
    read_tensor_types,
)
from tests.export.written import quantize

LAYER = {
    "attn_norm.weight": 0, "ffn_norm.weight": 0, "attn_q.weight": 1, "attn_k.weight": 1, "attn_v.weight": 1,
    "attn_output.weight": 1, "ffn_gate.weight": 1, "ffn_up.weight": 1, "ffn_down.weight": 2,
}  # fmt: skip
MORE: Mapping[str, dict[str, int]] = {
    "llama": {},
    "qwen2": {"attn_q.bias": 0, "attn_k.bias": 0, "attn_v.bias": 0},
    "qwen3": {"attn_q_norm.weight": 0, "attn_k_norm.weight": 0},
    "gemma": {},
    "gemma2": {"post_attention_norm.weight": 0, "post_ffw_norm.weight": 0},
    "gemma3": {"attn_q_norm.weight": 0, "attn_k_norm.weight": 0, "post_attention_norm.weight": 0},
    "phi3": {"attn_qkv.weight": 1},
}


def shapes_of(
    architecture: str, layers: int, hidden: int, inner: int, *, tied: bool, experts: int = 0
) -> dict[str, tuple[int, ...]]:
    """Matrices of two rows (three for the vocabulary), with rows as long as the model's."""
    sizes = {0: (hidden,), 1: (2, hidden), 2: (2, inner)}
    shapes: dict[str, tuple[int, ...]] = {"token_embd.weight": (3, hidden), "output_norm.weight": (hidden,)}
    if not tied:
        shapes["output.weight"] = (3, hidden)
    if architecture == "llama":
        shapes["rope_freqs.weight"] = (16,)
    names = {**LAYER, **MORE[architecture]}
    if architecture == "phi3":
        names = {name: size for name, size in names.items() if name not in {f"attn_{one}.weight" for one in "qkv"}}
    for layer in range(layers):
        for name, size in names.items():
            if experts and name.startswith("ffn_") and "norm" not in name:
                shapes[f"blk.{layer}.{name.replace('.weight', '_exps.weight')}"] = (experts, *sizes[size])
            else:
                shapes[f"blk.{layer}.{name}"] = sizes[size]
        if experts:
            shapes[f"blk.{layer}.ffn_gate_inp.weight"] = (experts, hidden)
    return shapes


def write_f32(
    path: Path, facts: ModelFacts, shapes: Mapping[str, tuple[int, ...]], *, hidden: int, inner: int
) -> dict[str, Any]:
    """A F32 file with the keys that llama.cpp wants; returns its numbers."""
    writer = gguf.GGUFWriter(str(path), facts.architecture)
    writer.add_context_length(128)
    writer.add_embedding_length(hidden)
    writer.add_block_count(facts.layers)
    writer.add_feed_forward_length(inner)
    writer.add_head_count(facts.heads)
    writer.add_head_count_kv(facts.kv_heads)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_dimension_count(16)
    writer.add_key_length(16)
    writer.add_value_length(16)
    writer.add_sliding_window(64)
    if facts.experts:
        writer.add_expert_count(facts.experts)
        writer.add_expert_used_count(2)
    chance = np.random.default_rng(0)
    numbers = {name: chance.standard_normal(shape, dtype=np.float32) for name, shape in shapes.items()}
    for name, tensor in numbers.items():
        writer.add_tensor(name, tensor)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return numbers


def compare(
    folder: Path, facts: ModelFacts, shapes: Mapping[str, tuple[int, ...]], kinds: tuple[str, ...], **sizes: int
) -> None:
    numbers = write_f32(folder / "f32.gguf", facts, shapes, **sizes)
    for kind in kinds:
        quantize(folder / "f32.gguf", folder / "theirs.gguf", kind)
        theirs = gguf.GGUFReader(folder / "theirs.gguf")
        planned = plan_types(kind, shapes, facts)
        found = {str(tensor.name): str(tensor.tensor_type.name) for tensor in theirs.tensors}
        assert planned == found, (kind, facts, sizes)
        assert list(planned) == list(found)
        check_written(folder / "theirs.gguf", kind, planned)
        for tensor in theirs.tensors:
            name = str(tensor.name)
            rows = numbers[name].reshape(-1, numbers[name].shape[-1])
            assert bytes(encode_rows(rows, planned[name]) or b"") == tensor.data.tobytes(), (kind, name)


LENGTHS = (32, 64, 96, 100, 250, 256, 288, 512, 520, 768, 1152)


@pytest.mark.parametrize("seed", range(16))
def test_types_and_bytes_are_llama_cpps_for_models_of_many_shapes(seed: int, tmp_path: Path) -> None:
    chance = random.Random(seed)
    architecture = chance.choice(sorted(MORE))
    layers = chance.randint(1, 40)
    kv_heads = chance.choice((1, 2, 4, 8))
    facts = ModelFacts(architecture, layers, heads=kv_heads * chance.choice((1, 2, 4, 8)), kv_heads=kv_heads)
    hidden, inner = chance.choice(LENGTHS), chance.choice(LENGTHS)
    shapes = shapes_of(architecture, layers, hidden, inner, tied=chance.random() < 0.5)
    compare(tmp_path, facts, shapes, tuple(chance.sample(sorted(KINDS), 4)), hidden=hidden, inner=inner)


@pytest.mark.parametrize("layers", [1, 2, 3, 7, 8, 9, 15, 16, 17, 24, 31, 32, 33, 40])
def test_the_mixtures_follow_the_depth(layers: int, tmp_path: Path) -> None:
    facts = ModelFacts("llama", layers, heads=8, kv_heads=2)
    shapes = shapes_of("llama", layers, 256, 256, tied=layers % 2 == 0)
    compare(tmp_path, facts, shapes, ("Q4_K_M", "Q5_K_M"), hidden=256, inner=256)


@pytest.mark.parametrize("hidden", LENGTHS)
def test_rows_of_odd_length_fall_back(hidden: int, tmp_path: Path) -> None:
    facts = ModelFacts("llama", 3, heads=2, kv_heads=1)
    shapes = shapes_of("llama", 3, hidden, 2 * hidden, tied=hidden % 64 == 0)
    compare(tmp_path, facts, shapes, tuple(KINDS), hidden=hidden, inner=2 * hidden)


@pytest.mark.parametrize(
    "facts",
    [
        ModelFacts("llama", 80, heads=8, kv_heads=1),  # Llama 2 and 3 of 70 billion parameters
        ModelFacts("llama", 80, heads=8, kv_heads=8),  # Llama 1 of 65
        ModelFacts("qwen2", 80, heads=8, kv_heads=1),
        ModelFacts("llama", 6, heads=8, kv_heads=2, experts=8),
        ModelFacts("llama", 6, heads=8, kv_heads=2, experts=4),
    ],
    ids=str,
)
def test_very_deep_models_and_experts(facts: ModelFacts, tmp_path: Path) -> None:
    shapes = shapes_of(facts.architecture, facts.layers, 256, 256, tied=False, experts=facts.experts)
    compare(tmp_path, facts, shapes, ("Q8_0", "Q6_K", "Q5_K_M", "Q4_K_M"), hidden=256, inner=256)


def test_layers_are_in_the_order_of_numbers_and_names_of_bytes() -> None:
    names = ["blk.10.a", "blk.2.b", "blk.2.a_norm", "blk.2.a.weight", "z", "token_embd.weight", "output.weight"]
    assert order_names(names) == [
        "output.weight", "token_embd.weight", "z", "blk.2.a.weight", "blk.2.a_norm", "blk.2.b", "blk.10.a",
    ]  # fmt: skip


@pytest.mark.parametrize("kind", ["F16", "BF16", "Q8_0", "Q4_K", "Q5_K", "Q6_K"])
def test_numbers_that_a_type_cannot_hold_are_told(kind: str) -> None:
    rows = np.zeros((2, 256), dtype=np.float32)
    assert encode_rows(rows, kind) is not None
    rows[1, 7] = 3.4e38 if kind == "BF16" else 1e9  # the scale of a block is stored as f16
    assert encode_rows(rows, kind) is None
    if kind == "F16":
        rows[1, 7] = 65519.0  # rounds down to the largest
        assert np.frombuffer(encode_rows(rows, kind) or b"", dtype=np.float16).max() == 65504
        rows[1, 7] = 65520.0
        assert encode_rows(rows, kind) is None


def test_a_file_that_is_not_what_was_planned_is_told(tmp_path: Path) -> None:
    shapes = {"token_embd.weight": (2, 64), "output_norm.weight": (64,)}
    write_f32(tmp_path / "f32.gguf", ModelFacts("llama", 1, 2, 1), shapes, hidden=64, inner=64)
    assert read_types(tmp_path / "f32.gguf") == {name: ("F32", shape) for name, shape in shapes.items()}
    assert read_tensor_types(tmp_path / "f32.gguf", "F16").fallbacks == {"token_embd.weight": "F32"}
    with pytest.raises(ExportError, match=r"token_embd\.weight is F32, expected F16"):
        check_written(tmp_path / "f32.gguf", "F16", {"token_embd.weight": "F16", "output_norm.weight": "F32"})
    with pytest.raises(ExportError, match=r"output_norm\.weight is F32, expected None"):
        check_written(tmp_path / "f32.gguf", "F32", {"token_embd.weight": "F32"})
    (tmp_path / "odd.gguf").write_bytes((tmp_path / "f32.gguf").read_bytes()[:90])
    with pytest.raises(ExportError, match="does not take it for a GGUF"):
        read_types(tmp_path / "odd.gguf")


def test_a_header_is_what_gguf_writes(tmp_path: Path) -> None:
    shapes = {"token_embd.weight": (2, 96), "output_norm.weight": (33,), "blk.0.ffn_up_exps.weight": (2, 3, 64)}
    writer = gguf.GGUFWriter(None, "llama")
    writer.add_name("größer")
    writer.add_array("tokenizer.ggml.tokens", ["a", "ß"])
    types = {"token_embd.weight": "Q8_0", "output_norm.weight": "F32", "blk.0.ffn_up_exps.weight": "F16"}
    layout = lay_out(pack_keys(writer), 7, shapes, types)
    path = tmp_path / "file.gguf"
    path.write_bytes(layout.header + bytes(layout.size - len(layout.header)))
    read = gguf.GGUFReader(path)
    assert {str(tensor.name): int(tensor.data_offset) for tensor in read.tensors} == dict(layout.begins)
    assert {str(tensor.name): str(tensor.tensor_type.name) for tensor in read.tensors} == types
    assert read.get_field("general.name").contents() == "größer"
    assert read.get_field("general.file_type").contents() == 7
    assert path.stat().st_size == layout.size
