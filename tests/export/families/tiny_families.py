"""Tiny random models of every family's real architecture, in which each option and each tensor matters; and their
logits in transformers and in llama.cpp.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers

from flytewheel.export.llamacpp import open_llama
from tests.tiny_model import build_tiny_model

WINDOW = 24  # of the sliding layers; the texts are longer
LENGTH = 80  # of a text in tokens
TOLERANCE = 1e-3  # of the largest logit
SHAPE: dict[str, Any] = {
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 256,
    "bos_token_id": None,
    "pad_token_id": None,
    "attn_implementation": "eager",
}
LLAMA3_ROPE = {
    "rope_type": "llama3", "rope_theta": 5e3, "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64,
}  # fmt: skip
LINEAR_ROPE = {"rope_type": "linear", "rope_theta": 5e3, "factor": 4.0}
YARN_ROPE = {"rope_type": "yarn", "rope_theta": 5e3, "factor": 4.0, "original_max_position_embeddings": 64}
GEMMA2: dict[str, Any] = {
    "head_dim": 32, "query_pre_attn_scalar": 32, "sliding_window": WINDOW, "attn_logit_softcapping": 4.0,
    "final_logit_softcapping": 5.0, "num_hidden_layers": 4,
}  # fmt: skip
GEMMA3: dict[str, Any] = {
    "head_dim": 32, "query_pre_attn_scalar": 32, "sliding_window": WINDOW, "num_hidden_layers": 7,
    "rope_parameters": {
        "full_attention": {"rope_type": "default", "rope_theta": 1e5},
        "sliding_attention": {"rope_type": "default", "rope_theta": 3e3},
    },
}  # fmt: skip
_PATTERN = ["full_attention", "sliding_attention", "sliding_attention"]


@dataclass(frozen=True, slots=True)
class Case:
    """A model's class in transformers without `ForCausalLM`, and its options beyond `SHAPE`."""

    kind: str
    options: Mapping[str, Any] = field(default_factory=dict)

    def draw(self, *, seed: int = 1, rows: int | None = None, **options: Any) -> Any:
        """A random model of the case, in fp32; `rows` of its embedding: by default five more than there are tokens."""
        name = {"Gemma3": "Gemma3TextConfig"}.get(self.kind, f"{self.kind}Config")
        config = getattr(transformers, name)(
            vocab_size=rows or len(read_tokenizer()) + 5,
            eos_token_id=read_tokenizer().eos_token_id,
            architectures=[f"{self.kind}ForCausalLM"],
            **{**SHAPE, **self.options, **options},
        )
        torch.manual_seed(seed)
        return sharpen(getattr(transformers, f"{self.kind}ForCausalLM")(config))


CASES: dict[str, Case] = {
    "llama-2": Case("Llama", {"num_key_value_heads": 4, "tie_word_embeddings": False}),
    "llama-3": Case("Llama", {"rope_parameters": {"rope_type": "default", "rope_theta": 5e5}, "head_dim": 32}),
    "llama-3.1": Case("Llama", {"rope_parameters": LLAMA3_ROPE, "tie_word_embeddings": False}),
    "llama-3.2-tied": Case("Llama", {"rope_parameters": LLAMA3_ROPE, "tie_word_embeddings": True, "head_dim": 32}),
    "llama-linear": Case("Llama", {"rope_parameters": LINEAR_ROPE}),
    "llama-dynamic": Case(
        "Llama", {"rope_parameters": {"rope_type": "dynamic", "rope_theta": 5e3, "factor": 4.0}}
    ),
    "llama-yarn": Case("Llama", {"rope_parameters": {**YARN_ROPE, "attention_factor": 1.3}}),
    "llama-biases": Case("Llama", {"attention_bias": True, "mlp_bias": True}),
    "mistral": Case("Mistral", {"sliding_window": None, "head_dim": 32, "tie_word_embeddings": False}),
    "mistral-window": Case("Mistral", {"sliding_window": LENGTH}),
    "qwen2": Case("Qwen2", {"tie_word_embeddings": False}),
    "qwen2-tied-yarn": Case("Qwen2", {"rope_parameters": YARN_ROPE, "tie_word_embeddings": True}),
    "qwen2-window": Case(
        "Qwen2", {"use_sliding_window": True, "sliding_window": LENGTH, "max_window_layers": 1}
    ),
    "qwen3": Case("Qwen3", {"head_dim": 32, "tie_word_embeddings": False}),
    "qwen3-tied-yarn": Case(
        "Qwen3", {"head_dim": 16, "tie_word_embeddings": True,
                  "rope_parameters": {**YARN_ROPE, "mscale": 1.0, "mscale_all_dim": 0.5}}
    ),
    "gemma2": Case("Gemma2", GEMMA2),
    "gemma2-pattern-linear": Case(
        "Gemma2", {**GEMMA2, "rope_parameters": LINEAR_ROPE, "layer_types": [*_PATTERN, "full_attention"]}
    ),
    "gemma3": Case("Gemma3", GEMMA3),
    "gemma3-linear-capped": Case(
        "Gemma3",
        {**GEMMA3, "final_logit_softcapping": 5.0, "tie_word_embeddings": True,
         "rope_parameters": {"full_attention": {**LINEAR_ROPE, "rope_theta": 1e5},
                             "sliding_attention": {"rope_type": "default", "rope_theta": 3e3}}},
    ),
    "gemma3-pattern-untied": Case(
        "Gemma3", {**GEMMA3, "num_hidden_layers": 3, "layer_types": _PATTERN, "tie_word_embeddings": False}
    ),
    "gemma3-no-window": Case(
        "Gemma3", {**GEMMA3, "num_hidden_layers": 3, "layer_types": ["full_attention"] * 3}
    ),
    "smollm": Case("Llama", {"num_attention_heads": 3, "num_key_value_heads": 3, "hidden_size": 48}),
    "smollm3": Case("SmolLM3", {"num_hidden_layers": 5}),
    "smollm3-yarn-untied": Case(
        "SmolLM3", {"num_hidden_layers": 4, "rope_parameters": YARN_ROPE, "tie_word_embeddings": False}
    ),
}  # fmt: skip


@functools.cache
def read_tokenizer() -> Any:
    """A byte-level tokenizer that every family's embedding can have."""
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        return transformers.AutoTokenizer.from_pretrained(build_tiny_model(Path(folder)))


def sharpen(model: Any) -> Any:
    """Makes attention, norms, biases and logits matter: as a model is drawn, every position attends to all alike."""
    scales = {"q_proj": 10.0, "k_proj": 10.0, "v_proj": 6.0, "o_proj": 6.0, "embed_tokens": 8.0, "lm_head": 8.0}
    scales |= dict.fromkeys(("gate_proj", "up_proj", "down_proj"), 4.0)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            part = name.split(".")[-2]
            if "norm" in part:
                weight.add_(torch.randn_like(weight) * 0.4)
            elif name.endswith("bias"):
                weight.add_(torch.randn_like(weight) * 0.5)
            else:
                weight.mul_(scales[part])
    return model.eval()


def sharpen_text(model: Any) -> Any:
    """The same for a model that sees: its language model alone."""
    sharpen(model.model.language_model)
    return model.eval()


def draw_ids(rows: int, *, length: int = LENGTH, seed: int = 0) -> list[int]:
    """Random token ids."""
    return [int(index) for index in np.random.default_rng(seed).integers(0, rows, length)]


def compute_logits(model: Any, ids: list[int]) -> Any:
    """transformers' logits `(tokens, vocabulary)`."""
    with torch.no_grad():
        return model(torch.tensor([ids])).logits[0].numpy()


def read_all_logits(path: Path, ids: list[int]) -> Any:
    """llama.cpp's logits `(tokens, vocabulary)` with an fp32 cache, the text in batches of 32."""
    import llama_cpp

    options = {"type_k": llama_cpp.GGML_TYPE_F32, "type_v": llama_cpp.GGML_TYPE_F32, "flash_attn": False}
    with open_llama(path, n_ctx=256, n_batch=32, n_threads=1, n_threads_batch=1, **options) as llama:
        llama.eval(ids)
        return llama.scores[: len(ids)].copy()


def measure_gap(model: Any, path: Path, *, length: int = LENGTH) -> float:
    """The largest difference of a logit between the two, at any position, in units of the largest logit."""
    ids = draw_ids(model.config.get_text_config().vocab_size, length=length)
    expected = compute_logits(model, ids)
    return float(np.abs(read_all_logits(path, ids) - expected).max() / np.abs(expected).max())
