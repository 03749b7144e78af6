"""What a configuration may say, in the forms that transformers has had for it; and what is refused, by name."""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from gguf import GGUFReader
from safetensors.torch import load_file, save_file

from flytewheel.errors import ExportError
from flytewheel.export.convert import write_gguf
from flytewheel.export.families import find_family
from flytewheel.export.families.llama import interleave
from flytewheel.export.families.rope import rope_factors
from flytewheel.export.source import Source
from flytewheel.records import file_digest
from tests.export.families.tiny_families import (
    CASES,
    LINEAR_ROPE,
    LLAMA3_ROPE,
    SHAPE,
    WINDOW,
    YARN_ROPE,
    measure_gap,
    read_tokenizer,
)

Config = dict[str, Any]


def export(folder: Path, target: Path) -> dict[str, Any]:
    """Writes the F32 file of a folder, and returns its keys."""
    with Source(folder) as source:
        write_gguf(source, read_tokenizer(), target, name="tiny", kind="F32")
    return {name: field.contents() for name, field in GGUFReader(target).fields.items()}


def rewrite(folder: Path, change: Callable[[Config], None]) -> None:
    config = json.loads((folder / "config.json").read_text())
    change(config)
    (folder / "config.json").write_text(json.dumps(config))


def test_permutation_interleaves_the_halves_of_each_head() -> None:
    assert interleave(8, 2).tolist() == [0, 2, 1, 3, 4, 6, 5, 7]  # two heads of four: (0 1 | 2 3) and (4 5 | 6 7)


def test_rope_factors_of_llama_3_1() -> None:
    config = SimpleNamespace(rope_parameters={**LLAMA3_ROPE, "rope_theta": 10_000.0}, head_dim=8)
    # Wavelengths 2π·10000^(i/8): 6.28 (kept, < 64/4), 62.8 (between), 628 and 6283 (stretched, > 64/1).
    smooth = (64 / (2 * math.pi * 10) - 1) / 3
    between = 1 / ((1 - smooth) / 8 + smooth)
    assert rope_factors(config).tolist() == pytest.approx([1, between, 8, 8])


def _flatten(config: Config) -> None:
    """As transformers 4 wrote it: theta beside the scaling, and defaults left out."""
    rope = config.pop("rope_parameters")
    config["rope_theta"] = rope.pop("rope_theta")
    if rope["rope_type"] != "default":
        config["rope_scaling"] = {**rope, "type": rope["rope_type"]}
    config["torch_dtype"] = config.pop("dtype", "float32")


def _flatten_oldest(config: Config) -> None:
    _flatten(config)
    if "rope_scaling" in config:
        del config["rope_scaling"]["rope_type"]  # the oldest files say `type`
    for name in ("head_dim", "attention_bias", "mlp_bias"):
        config.pop(name, None)


def _flatten_gemma3(config: Config) -> None:
    rope = config.pop("rope_parameters")
    config["rope_theta"] = rope["full_attention"].pop("rope_theta")
    config["rope_local_base_freq"] = rope["sliding_attention"]["rope_theta"]
    if rope["full_attention"]["rope_type"] != "default":
        config["rope_scaling"] = rope["full_attention"]
    config["sliding_window_pattern"] = 6
    del config["layer_types"]


@pytest.mark.parametrize(
    ("case", "change"),
    [
        ("llama-2", _flatten_oldest),
        ("llama-linear", _flatten_oldest),
        ("llama-3.2-tied", _flatten),
        ("qwen2-tied-yarn", _flatten),
        ("mistral", _flatten),
        ("gemma3", _flatten_gemma3),
        ("gemma3-linear-capped", _flatten_gemma3),
        ("smollm3", _flatten),
    ],
)
def test_an_older_config_gives_the_same_bytes(case: str, change: Callable[[Config], None], tmp_path: Path) -> None:
    CASES[case].draw().save_pretrained(tmp_path / "model")
    export(tmp_path / "model", tmp_path / "new.gguf")
    rewrite(tmp_path / "model", change)
    assert "rope_parameters" not in json.loads((tmp_path / "model" / "config.json").read_text())
    export(tmp_path / "model", tmp_path / "old.gguf")
    assert file_digest(tmp_path / "old.gguf") == file_digest(tmp_path / "new.gguf")


@pytest.mark.parametrize(
    ("case", "context"), [("mistral", 256), ("mistral-window", 80), ("qwen2-window", 80), ("qwen2", 256)]
)
def test_a_window_that_llama_cpp_does_not_know_is_the_context(
    case: str, context: int, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    CASES[case].draw().save_pretrained(tmp_path / "model")
    with caplog.at_level(logging.WARNING):
        fields = export(tmp_path / "model", tmp_path / "f32.gguf")
    assert next(fields[key] for key in fields if key.endswith(".context_length")) == context
    assert ("the file's context is its window, 80 tokens instead of 256" in caplog.text) == (context == 80)


def test_a_text_longer_than_such_a_window_is_another_matter(tmp_path: Path) -> None:
    """Why the context is cut: beyond it llama.cpp computes something else."""
    model = CASES["mistral"].draw(sliding_window=WINDOW)
    model.save_pretrained(tmp_path / "model")
    export(tmp_path / "model", tmp_path / "f32.gguf")
    assert measure_gap(model, tmp_path / "f32.gguf", length=WINDOW) < 1e-4
    assert measure_gap(model, tmp_path / "f32.gguf", length=WINDOW + 8) > 1e-2


def test_a_tied_output_matrix_that_is_stored_all_the_same_is_left_out(tmp_path: Path) -> None:
    model = CASES["gemma2"].draw()
    model.save_pretrained(tmp_path / "model")
    export(tmp_path / "model", tmp_path / "plain.gguf")
    file = tmp_path / "model" / "model.safetensors"
    tensors = load_file(file)
    tensors["lm_head.weight"] = tensors["model.embed_tokens.weight"].clone()
    tensors["model.layers.0.self_attn.rotary_emb.inv_freq"] = torch.ones(16)
    save_file(tensors, file, metadata={"format": "pt"})
    export(tmp_path / "model", tmp_path / "stored.gguf")
    assert file_digest(tmp_path / "stored.gguf") == file_digest(tmp_path / "plain.gguf")


@pytest.mark.parametrize("old", [False, True], ids=["names-of-transformers-5", "names-of-transformers-4"])
def test_the_text_of_a_gemma_3_that_sees(old: bool, tmp_path: Path) -> None:
    from transformers import Gemma3Config, Gemma3ForConditionalGeneration

    from tests.export.families.tiny_families import GEMMA3, sharpen_text

    text = {**SHAPE, **GEMMA3, "vocab_size": len(read_tokenizer()) + 5, "num_hidden_layers": 3}
    seeing = {"hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2,
              "image_size": 28, "patch_size": 14}  # fmt: skip
    torch.manual_seed(2)
    model: Any = Gemma3ForConditionalGeneration(
        Gemma3Config(text_config=text, vision_config=seeing, mm_tokens_per_image=4, image_token_index=1,
                     architectures=["Gemma3ForConditionalGeneration"], attn_implementation="eager")
    )  # fmt: skip
    sharpen_text(model)
    model.save_pretrained(tmp_path / "model")
    if old:
        file = tmp_path / "model" / "model.safetensors"
        renamed = {
            name.replace("model.language_model.", "language_model.model.").replace("model.vision", "vision")
            .replace("model.multi_modal", "multi_modal"): tensor
            for name, tensor in load_file(file).items()
        }  # fmt: skip
        save_file(renamed, file, metadata={"format": "pt"})
    export(tmp_path / "model", tmp_path / "f32.gguf")
    assert measure_gap(model, tmp_path / "f32.gguf") < 1e-3


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda tensors: tensors.pop("model.layers.1.mlp.up_proj.weight"),
         r"model\.layers\.1\.mlp\.up_proj\.weight is missing, which a model of its config\.json has"),
        (lambda tensors: tensors.update({"model.layers.2.mlp.up_proj.weight": torch.ones(96, 64)}),
         r"tensor model\.layers\.2\.mlp\.up_proj\.weight has no place in a GGUF of llama"),
        (lambda tensors: tensors.update({"model.layers.0.self_attn.q_norm.weight": torch.ones(16)}),
         r"tensor model\.layers\.0\.self_attn\.q_norm\.weight has no place"),
        (lambda tensors: tensors.update({"model.norm.weight": torch.ones(63)}),
         r"model\.norm\.weight has shape \(63,\), but by config\.json \(64,\)"),
        (lambda tensors: tensors.update({"model.layers.0.mlp.up_proj.weight": torch.ones(96, 64).to(torch.int8)}),
         r"up_proj\.weight is stored as I8"),
    ],
    ids=["missing", "layer-too-many", "norm-too-many", "other-shape", "quantised"],
)  # fmt: skip
def test_a_folder_whose_tensors_are_not_those_of_its_config_is_refused(
    change: Callable[[dict[str, Any]], None], reason: str, tmp_path: Path
) -> None:
    CASES["llama-2"].draw().save_pretrained(tmp_path / "model")
    tensors = load_file(tmp_path / "model" / "model.safetensors")
    change(tensors)
    save_file(tensors, tmp_path / "model" / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ExportError, match=reason) as raised:
        export(tmp_path / "model", tmp_path / "f32.gguf")
    assert "\n" not in str(raised.value)


def configure(kind: str, **options: Any) -> Any:
    import transformers

    name = "Gemma3TextConfig" if kind == "Gemma3" else f"{kind}Config"
    return getattr(transformers, name)(architectures=[f"{kind}ForCausalLM"], **{**SHAPE, **options})


@pytest.mark.parametrize(
    ("kind", "options", "reason"),
    [
        ("Llama", {"hidden_act": "gelu"}, "activation 'gelu'"),
        ("Llama", {"attention_multiplier": 0.5}, "attention_multiplier = 0.5"),
        ("Llama", {"attn_logit_softcapping": 50.0}, "attn_logit_softcapping = 50.0"),
        ("Llama", {"is_causal": False}, "is_causal = False"),
        ("Llama", {"quantization_config": {"quant_method": "fp8"}}, "quantised weights"),
        ("Llama", {"partial_rotary_factor": 0.5}, "a partial rotation"),
        ("Llama", {"rope_parameters": {**YARN_ROPE, "beta_fast": 16.0}}, "yarn with beta_fast = 16.0"),
        ("Llama", {"rope_parameters": {**YARN_ROPE, "truncate": False}}, "yarn with truncate = false"),
        ("Llama", {"rope_parameters": {"rope_type": "longrope", "rope_theta": 1e4, "factor": 2.0,
                                       "short_factor": [1.0] * 8, "long_factor": [2.0] * 8,
                                       "original_max_position_embeddings": 64}}, "rope type 'longrope'"),
        ("Mistral", {"rope_parameters": {**YARN_ROPE, "beta_slow": 2.0}}, "yarn with beta_slow = 2.0"),
        ("Qwen2", {"rope_parameters": LLAMA3_ROPE}, "rope type 'llama3'"),
        ("Qwen2", {"head_dim": 32}, "heads that are not hidden_size wide"),
        ("Qwen3", {"attention_bias": True}, "attention_bias"),
        ("Gemma2", {"attn_logit_softcapping": None}, "no attn_logit_softcapping"),
        ("Gemma2", {"final_logit_softcapping": None}, "no final_logit_softcapping"),
        ("Gemma2", {"head_dim": 32, "query_pre_attn_scalar": 16}, "query_pre_attn_scalar = 16, not 32"),
        ("Gemma2", {"tie_word_embeddings": False, "head_dim": 256}, "an output matrix of its own"),
        ("Gemma2", {"head_dim": 256, "rope_parameters": YARN_ROPE}, "rope type 'yarn'"),
        ("Gemma2", {"head_dim": 256, "hidden_activation": "gelu"}, "activation 'gelu'"),
        ("Gemma3", {"attn_logit_softcapping": 50.0}, "attn_logit_softcapping = 50.0"),
        ("Gemma3", {"use_bidirectional_attention": True}, "use_bidirectional_attention"),
        ("Gemma3", {"rope_parameters": {"full_attention": {"rope_type": "default", "rope_theta": 1e4},
                                        "sliding_attention": LINEAR_ROPE}}, "rope type 'linear' in its sliding"),
        ("Gemma3", {"query_pre_attn_scalar": 168}, "query_pre_attn_scalar = 168, not 256"),
        ("SmolLM3", {"no_rope_layer_interval": 2}, "no_rope_layers"),
        ("SmolLM3", {"attention_bias": True}, "attention_bias"),
        ("SmolLM3", {"mlp_bias": True}, "mlp_bias"),
        ("SmolLM3", {"rope_parameters": LLAMA3_ROPE}, "rope type 'llama3'"),
    ],
)  # fmt: skip
def test_what_cannot_be_written_faithfully_is_refused(kind: str, options: Config, reason: str) -> None:
    with pytest.raises(ExportError, match=reason) as raised:
        find_family(configure(kind, **options))
    assert "\n" not in str(raised.value)


def test_the_large_gemmas_scale_queries_as_llama_cpp_takes_for_granted() -> None:
    """27 B: 46 layers of 4,608 with 32 heads of 128 (query_pre_attn_scalar 144); 62 of 5,376 with 32 (168)."""
    wide: Config = {"num_attention_heads": 32, "head_dim": 128}
    find_family(configure("Gemma2", num_hidden_layers=46, hidden_size=4608, query_pre_attn_scalar=144, **wide))
    find_family(configure("Gemma3", num_hidden_layers=62, hidden_size=5376, query_pre_attn_scalar=168, **wide))
    with pytest.raises(ExportError, match="query_pre_attn_scalar = 128, not 168"):
        find_family(configure("Gemma3", num_hidden_layers=62, hidden_size=5376, query_pre_attn_scalar=128, **wide))


@pytest.mark.parametrize("given", [["GemmaForCausalLM"], None])
def test_another_architecture_is_refused_with_those_that_can_be_written(given: list[str] | None) -> None:
    with pytest.raises(ExportError, match=r"architecture (GemmaForCausalLM|unknown) cannot .* Gemma2ForCausalLM, .*Sm"):
        find_family(SimpleNamespace(architectures=given))
