from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from flytewheel.modelfile import Modelfile
from registry.manifest import Manifest, StoredFile
from router.cards import Card, describe_version
from tests.router.live import NOW
from tests.router.spelling_model import write_spelling_model


def describe(folder: Path, paths: list[str], **facts: str) -> Card:
    files = {path: StoredFile(sha256="0" * 64, size=(folder / path).stat().st_size) for path in paths}
    manifest = Manifest(name="demo", version="v1.202647.1", created_at=NOW, key="k", files=files, facts=facts)
    return describe_version(manifest, folder, paths)


def test_a_gguf_tells_family_parameters_and_template(tmp_path: Path) -> None:
    file = write_spelling_model(tmp_path / "model.gguf", "stable", context=2048)
    card = describe(tmp_path, ["model.gguf"], base_model="org/base", base_license="apache-2.0")
    assert (card.created_at, card.size, card.format) == (NOW, file.stat().st_size, "gguf")
    assert (card.family, card.context, card.quantization) == ("llama", 2048, "")  # it says no file type
    assert card.parameters == 2 * 259 * 320 + 4 * 320**2 + 3 * 320 * 32 + 3 * 320
    assert (card.base, card.license) == ("org/base", "apache-2.0")
    assert "<|im_start|>" in card.template
    assert "tokenizer.chat_template" not in card.values
    assert card.values["general.name"] == "stable"
    assert card.capabilities == ["completion"]


def test_a_modelfiles_template_is_the_one_that_is_used(tmp_path: Path) -> None:
    write_spelling_model(tmp_path / "model.gguf", "stable")
    template = "{{ if .Tools }}{{ .Tools }}{{ end }}{{ .Prompt }}"
    (tmp_path / "Modelfile").write_text(Modelfile("model.gguf", template, "Be brief.").to_text())
    card = describe(tmp_path, ["model.gguf", "Modelfile"])
    assert card.modelfile is not None
    assert (card.template, card.modelfile.system) == (template, "Be brief.")
    assert card.capabilities == ["completion", "tools"]
    (tmp_path / "Modelfile").write_text("no Modelfile of ours")
    assert describe(tmp_path, ["model.gguf", "Modelfile"]).modelfile is None


def test_what_holds_no_gguf_is_told_by_its_form(tmp_path: Path) -> None:
    (tmp_path / "adapter_model.safetensors").write_bytes(b"12345")
    card = describe(tmp_path, ["adapter_model.safetensors"])
    assert (card.format, card.size, card.parameter_size, card.template) == ("safetensors", 5, "", "")
    form = {"url": "https://api.example.com/v1", "model": "example-large"}
    (tmp_path / "upstream.json").write_text(json.dumps(form))
    card = describe(tmp_path, ["upstream.json"])
    assert (card.format, card.size, card.base) == ("", 0, "example-large")
    (tmp_path / "upstream.json").write_text("{")
    assert describe(tmp_path, ["upstream.json"]).base == ""
    (tmp_path / "broken.gguf").write_bytes(b"GGUF")
    assert describe(tmp_path, ["broken.gguf"]).parameters == 0


@pytest.mark.parametrize(
    ("parameters", "told"),
    [
        (0, ""),
        (999, "999"),
        (607_040, "607.0K"),
        (3_400_000, "3.4M"),
        (8_030_261_248, "8.0B"),
        (1_040_000_000_000, "1.0T"),
    ],
)
def test_parameters_are_told_as_people_say_them(parameters: int, told: str) -> None:
    assert replace(Card(NOW, 0, "gguf"), parameters=parameters).parameter_size == told
