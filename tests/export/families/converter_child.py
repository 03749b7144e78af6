"""Runs llama.cpp's own converter, from the folder that is named first, with the arguments that follow.

It finds a byte-level pre-tokenizer by a hash of what a tokenizer gives, and knows no tokenizer of a test. So that one
look-up is answered here; everything else is theirs.
"""

from __future__ import annotations

import runpy
import sys
from pathlib import Path


def main() -> None:
    folder = Path(sys.argv[1])
    sys.path.insert(0, str(folder))
    sys.path.insert(0, str(folder / "gguf-py"))
    from conversion.base import TextModel  # type: ignore[import-not-found]

    TextModel.get_vocab_base_pre = lambda self, tokenizer: "llama-bpe"
    sys.argv = sys.argv[1:]
    sys.argv[0] = str(folder / "convert_hf_to_gguf.py")
    runpy.run_path(sys.argv[0], run_name="__main__")


if __name__ == "__main__":
    main()
