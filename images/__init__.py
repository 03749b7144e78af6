"""Container images of the tasks, built by Flyte from what pyproject.toml pins.

Two images: `core` for the tasks that need no accelerator library, `trainer` for those that load torch. The registry to
push to is set where images are built: `FLYTEWHEEL_IMAGE_REGISTRY` (default `localhost:30000`, the one of Flyte's
sandbox).
"""

from __future__ import annotations

import os
from pathlib import Path

from flytekit import ImageSpec

ROOT = Path(__file__).resolve().parent.parent
REGISTRY = os.environ.get("FLYTEWHEEL_IMAGE_REGISTRY", "localhost:30000")
CONSTRAINTS = [
    line.strip()
    for line in (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    if line.strip() and not line.startswith("#")
]
PINNED = {line.split("==")[0].lower().replace("_", "-"): line for line in CONSTRAINTS}
CORE = (
    *(
        "flytekit",
        "flytekitplugins-kfpytorch",
        "pydantic",
        "PyYAML",
        "numpy",
        "scipy",
        "pandas",
        "minio",
        "psycopg",
        "psycopg-binary",
        "httpx",
        "orjson",
        "msgspec",
        "rich",
    ),
    *("click", "wandb", "sacrebleu", "RapidFuzz", "transformers", "tokenizers", "filelock", "psutil"),
    *("polars", "pyarrow", "rensa", "phonenumbers", "py3langid", "Jinja2", "sentencepiece"),
    *("model-signing", "pyOpenSSL", "cryptography", "safetensors"),
)
TRAINER = ("torch", "peft", "trl", "datasets", "accelerate", "gguf")


def _pins(names: tuple[str, ...]) -> list[str]:
    return [PINNED[name.lower().replace("_", "-")] for name in names]


core = ImageSpec(name="flytewheel-core", registry=REGISTRY, python_version="3.11", packages=_pins(CORE))
trainer = ImageSpec(
    name="flytewheel-trainer",
    registry=REGISTRY,
    python_version="3.11",
    apt_packages=["build-essential", "cmake"],
    packages=[*_pins((*CORE, *TRAINER)), "llama-cpp-python==" + PINNED["llama-cpp-python"].split("==")[1]],
)
