"""Real vocabularies out of llama-cpp-python's source archive, read by transformers, with what it loses put back.

Get the archive by `pip download --no-binary :all: --no-deps llama-cpp-python`, unpack it, and let
`LLAMA_CPP_SOURCE` name its folder `vendor/llama.cpp`. Nothing of it is kept here.

Where transformers (5.23) does not read a GGUF's tokenizer as the model's own `tokenizer.json` has it: Llama 3 loses
`ignore_merges` and gains a token behind the vocabulary; Qwen 2 loses NFC; Llama 2 gets the space of the first word as
Metaspace's `first`, where its own file prepends it while normalising. All three are put back here.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from tokenizers import normalizers

VARIABLE = "LLAMA_CPP_SOURCE"
NAMES = {"llama-bpe": "llama-bpe", "qwen2": "qwen2", "gpt-2": "gpt-2", "llama-spm": "default"}


def locate() -> Path | None:
    """The folder that the variable names."""
    given = os.environ.get(VARIABLE)
    return Path(given) if given else None


def read_tokenizer(folder: Path, name: str) -> Any:
    """The tokenizer of `models/ggml-vocab-NAME.gguf`."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder / "models", gguf_file=f"ggml-vocab-{name}.gguf")
    backend = tokenizer.backend_tokenizer
    if name == "llama-bpe":
        backend.model.ignore_merges = True
    if name == "qwen2":
        backend.normalizer = normalizers.NFC()
    if name == "llama-spm":
        backend.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
        backend.pre_tokenizer = None
    return tokenizer


def read_vectors(folder: Path, name: str) -> list[tuple[str, list[int]]]:
    """The published texts and their ids."""
    path = folder / "models" / f"ggml-vocab-{name}.gguf"
    texts = path.with_suffix(".gguf.inp").read_bytes().decode().split("\n__ggml_vocab_test__\n")
    lines = path.with_suffix(".gguf.out").read_text(encoding="utf-8").split("\n")
    return [(text, [int(part) for part in line.split()]) for text, line in zip(texts, lines, strict=False)]
