from __future__ import annotations

import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from gguf import GGUFReader
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    LlamaConfig,
    LlamaForCausalLM,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
)

from flytewheel.errors import ExportError
from flytewheel.export.convert import write_gguf
from flytewheel.export.families import find_family
from flytewheel.export.families.llama import interleave
from flytewheel.export.families.rope import rope_factors
from flytewheel.export.merge import round_to_f16
from flytewheel.export.parity import check_parity
from flytewheel.export.source import Source
from flytewheel.records import build_prompt, file_digest
from tests.export.written import write_model
from tests.tiny_model import build_tiny_model

SHAPE: dict[str, Any] = {
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 256,
    "bos_token_id": None,
}
LLAMA3_ROPE = {
    "rope_type": "llama3",
    "rope_theta": 10000.0,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64,
}
PROMPTS = [
    build_prompt("The queue of the billing service grows for 12345 s"),
    build_prompt("What's up?", system="Be short"),
]


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_tiny_model(tmp_path_factory.mktemp("tiny"))


def sensitive(model: Any) -> Any:
    """Makes attention matter in a random model: as it is drawn, every position attends to all others alike."""
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if name.endswith(("q_proj.weight", "k_proj.weight")):
                weight.mul_(8)
            elif name.endswith(("v_proj.weight", "o_proj.weight")):
                weight.mul_(4)
            elif name.endswith("bias") or "norm" in name:
                weight.add_(torch.randn_like(weight) * 0.1)
    round_to_f16(model)
    return model.eval()


@pytest.mark.parametrize(
    ("kind", "config", "options"),
    [
        (LlamaForCausalLM, LlamaConfig, {"tie_word_embeddings": False, "head_dim": 32}),
        (LlamaForCausalLM, LlamaConfig, {"attention_bias": True, "rope_parameters": LLAMA3_ROPE}),
        (LlamaForCausalLM, LlamaConfig, {"rope_parameters": {"rope_type": "linear", "rope_theta": 5e5, "factor": 2.0}}),
        (Qwen2ForCausalLM, Qwen2Config, {"tie_word_embeddings": True}),
        (Qwen3ForCausalLM, Qwen3Config, {"head_dim": 32, "tie_word_embeddings": False}),
    ],
    ids=["untied-wide-heads", "biases-llama3-rope", "linear-rope", "qwen2", "qwen3"],
)
def test_each_family_and_option_computes_the_same_in_llama_cpp(
    kind: Any, config: Any, options: dict[str, Any], tiny: Path, tmp_path: Path
) -> None:
    tokenizer = AutoTokenizer.from_pretrained(tiny)
    torch.manual_seed(1)
    rows = len(tokenizer) + 5  # five embeddings without a token, as padded vocabularies have
    model = sensitive(
        kind(
            config(
                vocab_size=rows, eos_token_id=tokenizer.eos_token_id, architectures=[kind.__name__], **SHAPE, **options
            )
        )
    )
    write_model(model, tokenizer, tmp_path / "f16.gguf")

    report = check_parity(model, tokenizer, {"F16": tmp_path / "f16.gguf"}, PROMPTS, max_tokens=16, tolerance=0.01)
    assert report.files["F16"].mean_kl_nats < 1e-6


def test_the_same_weights_give_the_same_bytes(tiny: Path, tmp_path: Path) -> None:
    for name in ("one", "two"):
        with Source(tiny) as source:
            write_gguf(source, AutoTokenizer.from_pretrained(tiny), tmp_path / name, name="tiny")
    assert file_digest(tmp_path / "one") == file_digest(tmp_path / "two")


def test_metadata_says_what_a_server_needs(tiny: Path, tmp_path: Path) -> None:
    model, tokenizer = AutoModelForCausalLM.from_pretrained(tiny), AutoTokenizer.from_pretrained(tiny)
    write_model(model, tokenizer, tmp_path / "f16.gguf")
    fields = {name: field.contents() for name, field in GGUFReader(tmp_path / "f16.gguf").fields.items()}
    assert fields["general.architecture"] == "llama"
    assert fields["general.name"] == "tiny"
    assert fields["tokenizer.ggml.pre"] == "dbrx"
    assert fields["tokenizer.ggml.add_bos_token"] is False
    assert fields["tokenizer.ggml.eos_token_id"] == tokenizer.eos_token_id
    assert "tokenizer.ggml.bos_token_id" not in fields
    assert fields["llama.context_length"] == 512
    assert "generation" not in fields["tokenizer.chat_template"].replace("add_generation_prompt", "")
    types = {str(tensor.name): tensor.tensor_type.name for tensor in GGUFReader(tmp_path / "f16.gguf").tensors}
    assert types["blk.0.attn_norm.weight"] == types["output_norm.weight"] == "F32"
    assert types["token_embd.weight"] == types["blk.1.ffn_down.weight"] == "F16"
    assert "output.weight" not in types


def test_permutation_interleaves_the_halves_of_each_head() -> None:
    assert interleave(8, 2).tolist() == [0, 2, 1, 3, 4, 6, 5, 7]  # two heads of four: (0 1 | 2 3) and (4 5 | 6 7)


def test_rope_factors_of_llama_3_1() -> None:
    config = SimpleNamespace(rope_parameters=LLAMA3_ROPE, head_dim=8)
    # Wavelengths 2π·10000^(i/8): 6.28 (kept, < 64/4), 62.8 (between), 628 and 6283 (stretched, > 64/1).
    smooth = (64 / (2 * math.pi * 10) - 1) / 3
    between = 1 / ((1 - smooth) / 8 + smooth)
    assert rope_factors(config).tolist() == pytest.approx([1, between, 8, 8])


def llama(**options: Any) -> LlamaConfig:
    return LlamaConfig(architectures=["LlamaForCausalLM"], **options)


@pytest.mark.parametrize(
    ("config", "reason"),
    [
        (SimpleNamespace(architectures=["GemmaForCausalLM"]), "architecture GemmaForCausalLM"),
        (SimpleNamespace(architectures=None), "architecture unknown"),
        (llama(hidden_act="gelu"), "activation 'gelu'"),
        (llama(mlp_bias=True), "biases in its feed-forward"),
        (
            SimpleNamespace(
                architectures=["MistralForCausalLM"], sliding_window=4096, hidden_act="silu", rope_parameters={}
            ),
            "a sliding window",
        ),
    ],
)
def test_what_cannot_be_written_faithfully_is_refused(config: Any, reason: str) -> None:
    with pytest.raises(ExportError, match=reason) as raised:
        find_family(config)
    assert "\n" not in str(raised.value)


def test_an_unknown_rope_and_a_tokenizer_that_is_too_large_are_refused(tiny: Path, tmp_path: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(tiny)
    model = AutoModelForCausalLM.from_pretrained(tiny)
    model.config.rope_parameters = {
        "rope_type": "yarn", "rope_theta": 1e4, "factor": 2.0, "original_max_position_embeddings": 256,
    }  # fmt: skip
    with pytest.raises(ExportError, match="rope type 'yarn'"):
        write_model(model, tokenizer, tmp_path / "f16.gguf")
    small = LlamaForCausalLM(llama(vocab_size=100, **{**SHAPE, "num_hidden_layers": 1}))
    with pytest.raises(ExportError, match="but the model only 100 embeddings"):
        write_model(small, tokenizer, tmp_path / "f16.gguf")


def test_a_weight_that_f16_cannot_hold_is_refused(tiny: Path) -> None:
    model = AutoModelForCausalLM.from_pretrained(tiny)
    with torch.no_grad():
        model.model.layers[1].mlp.up_proj.weight[0, 0] = 1e5
    with pytest.raises(ExportError, match=r"layers\.1\.mlp\.up_proj\.weight holds a weight that f16 cannot hold"):
        round_to_f16(model)
