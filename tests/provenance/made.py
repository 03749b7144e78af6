"""Manifests as registrations leave them, small enough to read."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from registry.manifest import Manifest, StoredFile

NOW = datetime(2026, 11, 28, 6, 30, 15, 123456, tzinfo=UTC)
FACTS: dict[str, Any] = {
    "kind": "candidate",
    "run_id": "r-1",
    "base_model": "meta-llama/Llama-3.2-1B-Instruct",
    "base_digest": "a" * 40,
    "base_license": "llama3.2",
    "languages": ["en", "de"],
    "seed": 7,
    "code_version": "0.1.0",
    "git_commit": "c" * 40,
    "dataset_digest": "d" * 64,
    "dataset": {
        "content_digest": "e" * 64,
        "counts": {"sft": {"train": 1200, "test": 80}, "preference": {"train": 300}},
        "users": {"train": 200, "validation": 20, "test": 25},
        "redacted": {"email": 12},
        "license": "CC-BY-4.0",
    },
    "recipe": {"training": {"lora_rank": 24}},
    "recipe_digest": "f" * 64,
    "training": {"train_sft": {"method": "sft", "rows": 1200, "steps": 120, "first_loss": 1.25, "device": "cpu"}},
    "packages": {"torch": "2.13.0", "llama-cpp-python": "0.3.36"},
    "evaluation": {
        "perplexity": {
            "candidate": {"estimate": 1.0625, "low": 1.05, "high": 1.075, "level": 0.95},
            "champion": {"estimate": 1.25, "low": 1.2, "high": 1.3, "level": 0.95},
            "difference": {"estimate": -0.1875, "low": -0.2, "high": -0.17, "level": 0.95},
            "rows": 1080, "users": 25,
        },
        "win_rate": {"candidate": {"estimate": None, "low": None, "high": None}, "rows": 0, "users": 0},
    },
    "judged_against": "v1.202647.1",
    "verdict": "promote_to_canary",
    "gate_verdict": "hold",
    "reasons": ["for: perplexity 1.06 < 1.25 | clearly", "overruled by Ada: <b>yes</b>"],
    "parity": {"top1": {"Q8_0": 0.9987}, "prompts": 20},
    "serve": "model-Q8_0.gguf",
}  # fmt: skip
FILES = ("Modelfile", "adapter/adapter_config.json", "adapter/adapter_model.safetensors", "model-Q8_0.gguf")


def build_manifest(files: tuple[str, ...] = FILES, **facts: Any) -> Manifest:
    stored = {path: StoredFile(sha256=f"{number:064x}", size=1000 + number) for number, path in enumerate(files)}
    return Manifest(
        name="oncall", version="v1.202648.1", created_at=NOW, key="r-1", files=stored, facts={**FACTS, **facts}
    )


def build_bare() -> Manifest:
    """A version of which nothing is known, as another tool might register it."""
    return build_manifest(("m.gguf",), **dict.fromkeys(FACTS))
