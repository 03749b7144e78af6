"""The front matter of a model card, as the hub reads it (https://huggingface.co/docs/hub/model-cards#model-card-metadata).

`model-index` holds the figures of the evaluation; their intervals, for which it has no place, are in the card's text.
"""

from __future__ import annotations

from typing import Any

import yaml

from flytewheel.licenses import spell_for_hub
from flytewheel.provenance.facts import kind_of, list_figures, name_base, section, text
from registry.manifest import Manifest

TASK = "text-generation"
_RELATIONS = {"adapter": "adapter", "full": "finetune", "base": "quantized"}
_LIBRARIES = {"adapter": "peft", "full": "transformers", "base": "gguf"}


def write_front_matter(manifest: Manifest) -> str:
    """The metadata between two lines of dashes."""
    found = yaml.safe_dump(describe_metadata(manifest), sort_keys=False, allow_unicode=True, width=1000)
    return f"---\n{found}---\n"


def describe_metadata(manifest: Manifest) -> dict[str, Any]:
    """The metadata as plain values, in the order in which they are written; what is not known is left out."""
    facts, kind = manifest.facts, kind_of(manifest)
    license_ = text(facts, "base_license")
    identifier, name = spell_for_hub(license_) if license_ else ("unknown", None)
    languages = facts.get("languages")
    tags = ["flytewheel", "gguf", "conversational", *(["lora"] if kind == "adapter" else [])]
    found: dict[str, Any] = {
        "license": identifier,
        "license_name": name,
        "language": [str(code) for code in languages] if isinstance(languages, list) else None,
        "library_name": _LIBRARIES[kind],
        "pipeline_tag": TASK,
        "base_model": name_base(manifest),
        "base_model_relation": _RELATIONS[kind],
        "tags": tags,
        "datasets": [name_dataset(manifest)] if text(facts, "dataset_digest") else None,
        "model-index": [{"name": f"{manifest.name} {manifest.version}", "results": results}]
        if (results := _list_results(manifest))
        else None,
    }
    return {key: value for key, value in found.items() if value}


def name_dataset(manifest: Manifest) -> str:
    """The data set's name, as the hub allows names: it lies nowhere in public."""
    return f"flytewheel-{text(manifest.facts, 'dataset_digest')[:64]}"


def _list_results(manifest: Manifest) -> list[dict[str, Any]]:
    figures = [figure for figure in list_figures(manifest.facts) if figure.value is not None]
    if not figures:
        return []
    users = section(section(manifest.facts, "dataset"), "users").get("test")
    dataset = {
        "type": name_dataset(manifest),
        "name": f"users that training never saw{f' ({users})' if users else ''}",
        "split": "test",
    }
    metrics = [{"type": figure.name, "name": figure.name, "value": figure.value} for figure in figures]
    return [{"task": {"type": TASK, "name": "Text generation"}, "dataset": dataset, "metrics": metrics}]
