from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import gguf
import pytest

from flytewheel.export.identity import write_identity

CARD = """---
license: other
license_name: llama3.2
license_link: https://example.org/LICENSE
base_model: meta-llama/Llama-3.2-1B
language:
- en
- no
tags: [chat]
model_name: Another Name
author: somebody
---
# A card
"""


def read(folder: Path, card: str | bytes | None) -> dict[str, Any]:
    if card is not None:
        (folder / "README.md").write_bytes(card if isinstance(card, bytes) else card.encode())
    writer = gguf.GGUFWriter(None, "llama")
    write_identity(writer, folder, "support-7")
    return {
        name.removeprefix("general."): value.value
        for name, value in writer.kv_data[0].items()
        if name != "general.architecture"
    }


def test_licence_and_ancestors_come_from_the_card_and_the_name_does_not(tmp_path: Path) -> None:
    assert read(tmp_path, CARD) == {
        "type": "model",
        "name": "support-7",
        "license": "other",
        "license.name": "llama3.2",
        "license.link": "https://example.org/LICENSE",
        "base_model.count": 1,
        "base_model.0.name": "Llama 3.2 1B",
        "base_model.0.organization": "Meta Llama",
        "base_model.0.repo_url": "https://huggingface.co/meta-llama/Llama-3.2-1B",
        "tags": ["chat"],
        "languages": ["en", "no"],
    }


@pytest.mark.parametrize("card", [None, "", "# no front matter", "---\n- a list\n---\n", "---\nlicense:\n---\n"])
def test_without_front_matter_there_is_a_name(card: str | None, tmp_path: Path) -> None:
    assert read(tmp_path, card) == {"type": "model", "name": "support-7"}


@pytest.mark.parametrize("card", ["---\nlicense: 'open\n---\n", b"---\nlicense: \xff\n---\n"])
def test_a_card_that_cannot_be_read_stops_no_export(
    card: str | bytes, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        assert read(tmp_path, card) == {"type": "model", "name": "support-7"}
    assert "front matter cannot be read" in caplog.text


def test_odd_values_are_text_or_left_out(tmp_path: Path) -> None:
    card = "---\nlicense: [a, {b: c}]\nlicense_name: 3.2\nlicense_link: {a: b}\ntags: [2024-01-01, 7]\n---\n"
    assert read(tmp_path, card) == {
        "type": "model", "name": "support-7", "license": "a", "license.name": "3.2", "tags": ["2024-01-01", "7"],
    }  # fmt: skip
