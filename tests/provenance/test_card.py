"""The model card as the hub's own reader sees it, and as a person does."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from huggingface_hub import ModelCard, ModelCardData

from flytewheel.provenance import CARD, describe_version
from flytewheel.provenance.card import write_card
from registry.manifest import Manifest
from tests.provenance.made import FILES, build_bare, build_manifest


def read(manifest: Manifest) -> tuple[ModelCardData, str]:
    card = ModelCard(write_card(manifest), ignore_metadata_errors=False)
    assert isinstance(card.data, ModelCardData)
    return card.data, card.text


def test_the_hub_reads_what_it_is_made_of() -> None:
    data, _ = read(build_manifest())
    found = data.to_dict()
    assert (found["license"], found["language"]) == ("llama3.2", ["en", "de"])
    assert (found["base_model"], found["base_model_relation"]) == ("meta-llama/Llama-3.2-1B-Instruct", "adapter")
    assert (found["library_name"], found["pipeline_tag"]) == ("peft", "text-generation")
    assert {"flytewheel", "gguf", "lora"} <= set(found["tags"])
    assert found["datasets"] == ["flytewheel-" + "d" * 64]
    assert data.model_name == "oncall v1.202648.1"
    assert data.eval_results is not None
    (perplexity,) = data.eval_results  # what cannot be told is no result
    assert (perplexity.metric_type, perplexity.metric_value) == ("perplexity", 1.0625)
    assert (perplexity.task_type, perplexity.dataset_split) == ("text-generation", "test")


@pytest.mark.parametrize(
    ("files", "relation", "library"),
    [
        (("weights/config.json", "weights/model.safetensors", "model-Q8_0.gguf"), "finetune", "transformers"),
        (("model-Q8_0.gguf",), "quantized", "gguf"),
    ],
)
def test_full_weights_and_bare_bases_are_called_so(files: tuple[str, ...], relation: str, library: str) -> None:
    data, body = read(build_manifest(files))
    assert "--lora" not in body
    assert (data.to_dict()["base_model_relation"], data.library_name) == (relation, library)
    assert ("AutoModelForCausalLM.from_pretrained" in body) == (library == "transformers")
    assert "llama-server -m oncall/model-Q8_0.gguf" in body


@pytest.mark.parametrize(
    ("stated", "license_", "name"),
    [
        ("Apache-2.0", "apache-2.0", None),
        ("Our Own: License", "other", "Our Own: License"),
        (None, "unknown", None),
        ("no", "other", "no"),
    ],
)
def test_a_license_is_the_hubs_or_other_with_its_name(stated: str | None, license_: str, name: str | None) -> None:
    data, body = read(build_manifest(base_license=stated))
    assert (data.license, data.license_name) == (license_, name)
    assert ("not stated by the base" in body) == (stated is None)


def test_an_adapter_as_gguf_is_run_beside_a_base_and_not_by_itself() -> None:
    _, body = read(build_manifest((*FILES, "adapter-F16.gguf"), serve=None))
    assert "llama-server -m oncall/model-Q8_0.gguf --alias oncall" in body
    assert "llama-server -m BASE.gguf --lora oncall/adapter-F16.gguf" in body


def test_a_person_reads_intervals_verdict_parity_files_and_how_to_run_it() -> None:
    _, body = read(build_manifest())
    assert "| perplexity | 1.062 [1.05, 1.075] | 1.25 [1.2, 1.3] | -0.1875 [-0.2, -0.17] | 1,080 | 25 |" in body
    assert "the champion v1.202647.1. In brackets: intervals at 95 %." in body
    assert "| win_rate | – | – | – | 0 | 0 |" in body
    assert "`promote_to_canary`. A person overruled the gate, which had said `hold`." in body
    assert "- for: perplexity 1.06 &lt; 1.25 \\| clearly" in body
    assert "| top1.Q8_0 | 0.9987 |" in body
    assert "torch 2.13.0" in body
    for path in FILES:
        assert f"| {path} | " in body
    assert "flytewheel models verify --folder oncall" in body
    assert "ollama create oncall -f Modelfile" in body
    assert "vllm serve meta-llama/Llama-3.2-1B-Instruct --enable-lora --max-lora-rank 32" in body
    assert "AutoPeftModelForCausalLM" in body
    assert "sft: test 80, train 1,200" in body
    assert "email 12" in body


def test_the_same_manifest_gives_the_same_bytes() -> None:
    assert describe_version(build_manifest()) == describe_version(build_manifest())
    reordered = build_manifest(FILES[::-1]).model_copy(update={"files": dict(reversed(build_manifest().files.items()))})
    assert describe_version(reordered) == describe_version(build_manifest())


def test_a_version_of_which_nothing_is_known_has_a_card_too() -> None:
    data, body = read(build_bare())
    assert (data.license, data.to_dict()["base_model"], data.eval_results) == ("unknown", "unknown", None)
    assert body.strip().startswith("# oncall v1.202648.1")


@pytest.mark.parametrize("value", ["x", 3, [], ["y"], {"a": {"b": [1]}}, True, "---\nlicense: mit\n---", "a: b\n# c"])
def test_odd_facts_neither_break_the_card_nor_its_metadata(value: Any) -> None:
    for name in build_manifest().facts:
        data, body = read(build_manifest(**{name: value}))
        assert body.strip().startswith("# oncall")
        assert data.to_dict()["pipeline_tag"] == "text-generation"
        front = write_card(build_manifest(**{name: value})).split("\n---\n", 1)[0].removeprefix("---\n")
        assert isinstance(yaml.safe_load(front), dict)


@pytest.mark.parametrize(
    ("model", "name"),
    [("pocket", "pocket"), ("/srv/models/My Base (v2)", "My-Base-v2"), ("~/models/base", "base"), ("/", "unknown")],
)
def test_a_folder_of_this_machine_is_named_by_its_last_part(model: str, name: str) -> None:
    data, body = read(build_manifest(base_model=model, base_digest="a" * 64))
    assert data.to_dict()["base_model"] == name
    assert "/srv" not in body
    assert CARD == "README.md"
