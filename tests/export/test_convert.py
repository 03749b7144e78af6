from __future__ import annotations

from pathlib import Path

import pytest
import torch
from gguf import GGUFReader
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    LlamaConfig,
    LlamaForCausalLM,
)

from flytewheel.errors import ExportError
from flytewheel.export.convert import write_gguf
from flytewheel.export.source import Source
from flytewheel.records import file_digest
from tests.export.written import write_model
from tests.tiny_model import build_tiny_model


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_tiny_model(tmp_path_factory.mktemp("tiny"))


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


def test_a_tokenizer_that_is_too_large_is_refused(tiny: Path, tmp_path: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(tiny)
    small = LlamaForCausalLM(LlamaConfig(vocab_size=100, hidden_size=64, intermediate_size=96, num_hidden_layers=1))
    small.config.architectures = ["LlamaForCausalLM"]
    with pytest.raises(ExportError, match="but the model only 100 embeddings"):
        write_model(small, tokenizer, tmp_path / "f16.gguf")


def test_a_weight_that_f16_cannot_hold_is_refused(tiny: Path, tmp_path: Path) -> None:
    model = AutoModelForCausalLM.from_pretrained(tiny)
    with torch.no_grad():
        model.model.layers[1].mlp.up_proj.weight[0, 0] = 1e5
    with pytest.raises(ExportError, match=r"layers\.1\.mlp\.up_proj\.weight holds a weight that f16 cannot hold"):
        write_model(model, AutoTokenizer.from_pretrained(tiny), tmp_path / "f16.gguf")
