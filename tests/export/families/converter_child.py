"""Runs llama.cpp's own converter, from the folder that is named first, on every job of a JSON file: a model's folder,
a kind and a target each. One process for all, because it imports half a minute's worth.

It finds a byte-level pre-tokenizer by a hash of what a tokenizer gives, and knows no tokenizer of a test; and for
Gemma 2 it takes SentencePiece alone. Those two look-ups are answered here; everything else is theirs.
"""

from __future__ import annotations

import json
import runpy
import sys
from pathlib import Path


def main() -> None:
    folder = Path(sys.argv[1])
    sys.path.insert(0, str(folder))
    sys.path.insert(0, str(folder / "gguf-py"))
    from conversion.base import TextModel  # type: ignore[import-not-found]
    from conversion.gemma import Gemma2Model  # type: ignore[import-not-found]

    TextModel.get_vocab_base_pre = lambda self, tokenizer: "llama-bpe"
    Gemma2Model._set_vocab_sentencepiece = TextModel._set_vocab_gpt2
    converter = str(folder / "convert_hf_to_gguf.py")
    for model, kind, target in json.loads(Path(sys.argv[2]).read_text()):
        sys.argv = [converter, model, "--outtype", kind.lower(), "--outfile", target]
        runpy.run_path(converter, run_name="__main__")


if __name__ == "__main__":
    main()
