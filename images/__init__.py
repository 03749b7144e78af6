"""Container images, built by Flyte from what pyproject.toml pins.

| image | for | base |
|---|---|---|
| `core` | curation and every other task that needs no accelerator library | Debian, CPU |
| `trainer` | training, evaluation and export: what loads torch | CUDA |
| `service` | the router in front of the models; no task, built by `python -m images service` | Debian, CPU |

The registry to push to is the domain's (images/domain.py), unless `FLYTEWHEEL_IMAGE_REGISTRY` names another where
images are built.
"""

from __future__ import annotations

import os
from pathlib import Path

from flytekit import ImageSpec

from images.domain import name_domain, read_domain

ROOT = Path(__file__).resolve().parent.parent
DOMAIN_NAME = name_domain(os.environ)
DOMAIN = read_domain(DOMAIN_NAME)
REGISTRY = os.environ.get("FLYTEWHEEL_IMAGE_REGISTRY") or DOMAIN.image_registry
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
SERVICE = ("fastapi", "fastapi-offline", "uvicorn", "uvloop", "httptools", "aiohttp", "prometheus-client", "xllamacpp")


def _pins(names: tuple[str, ...]) -> list[str]:
    return [PINNED[name.lower().replace("_", "-")] for name in names]


core = ImageSpec(name="flytewheel-core", registry=REGISTRY, python_version="3.11", packages=_pins(CORE))
trainer = ImageSpec(
    name="flytewheel-trainer",
    registry=REGISTRY,
    base_image=DOMAIN.cuda_image,
    python_version="3.11",
    apt_packages=["build-essential", "cmake"],
    packages=[*_pins((*CORE, *TRAINER)), "llama-cpp-python==" + PINNED["llama-cpp-python"].split("==")[1]],
)
service = ImageSpec(
    name="flytewheel-service",
    registry=REGISTRY,
    python_version="3.11",
    packages=_pins((*(name for name in CORE if not name.startswith("flytekit")), *SERVICE)),
    copy=["flytewheel", "registry", "router", "pyproject.toml", "constraints.txt"],
    entrypoint=["python", "-m", "router"],
)
SPECS = {"core": core, "trainer": trainer, "service": service}
