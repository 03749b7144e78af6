"""Which versions of which packages did the work: what a version's facts and its bill of materials name."""

from __future__ import annotations

from importlib import metadata

# What decides which weights come out, and which bytes are written of them; names as on the package index.
PACKAGES = (
    "accelerate",
    "datasets",
    "flytekit",
    "gguf",
    "llama-cpp-python",
    "numpy",
    "peft",
    "polars",
    "pyarrow",
    "pydantic",
    "safetensors",
    "tokenizers",
    "torch",
    "transformers",
    "trl",
    "bitsandbytes",
    "flash-attn",
)


def list_packages() -> dict[str, str]:
    """The installed ones of `PACKAGES` with their versions, by name."""
    found = {}
    for name in sorted(PACKAGES):
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found
