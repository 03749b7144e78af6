"""Opens GGUF files in llama.cpp, in a process that may crash: `python -m benchmarks.headers_child` reads paths."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path


def open_each(paths: Sequence[Path], *, deadline_s: float = 600.0) -> dict[Path, str]:
    """What came of each file: `opened`, `refused`, or `crashed`, with the signal; after a crash a new process goes
    on."""
    said: dict[Path, str] = {}
    while len(said) < len(paths):
        rest = [path for path in paths if path not in said]
        child = subprocess.run(
            [sys.executable, "-m", "benchmarks.headers_child"],
            input="\n".join(map(str, rest)), capture_output=True, text=True, timeout=deadline_s, check=False,
            env={**os.environ, "GGML_NO_BACKTRACE": "1"},
        )  # fmt: skip
        lines = child.stdout.splitlines()
        said |= {path: line for path, line in zip(rest, lines, strict=False)}
        if len(lines) < len(rest):
            last = [line for line in child.stderr.splitlines() if "GGML_ASSERT" in line or "what()" in line]
            said[rest[len(lines)]] = f"crashed ({child.returncode}) {last[-1][-160:] if last else ''}"
    return said


def main() -> None:
    """One line a file: the vocabulary alone, then the whole model and one token of it."""
    import llama_cpp

    from flytewheel.export.llamacpp import silence_log

    silence_log()
    for path in sys.stdin.read().splitlines():
        results = []
        for vocab_only in (True, False):
            params = llama_cpp.llama_model_default_params()
            params.vocab_only = vocab_only
            params.n_gpu_layers = 0
            model = llama_cpp.llama_model_load_from_file(path.encode(), params)
            results.append("opened" if model else "refused")
            if model:
                ids = (llama_cpp.llama_token * 64)()
                vocab = llama_cpp.llama_model_get_vocab(model)
                llama_cpp.llama_tokenize(vocab, b"abc <|end|> x", 13, ids, 64, True, True)
                llama_cpp.llama_model_free(model)
        print("/".join(results), flush=True)


if __name__ == "__main__":
    main()
