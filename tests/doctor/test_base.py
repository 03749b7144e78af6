"""Base models told from their files: a real tiny model, whole and then broken in every way that a copy breaks."""

from __future__ import annotations

import json
import os
import pickle
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from flytewheel.doctor.base import examine_base
from flytewheel.models import load_model
from flytewheel.recipe import BaseModelSpec
from tests.hostile import Payload
from tests.tiny_model import build_tiny_model
from tests.training.teaching import base_spec


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_tiny_model(tmp_path_factory.mktemp("model"))


@pytest.fixture
def copy(model: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(model, tmp_path / "base"))


def test_a_whole_model_is_counted_as_torch_counts_it(model: Path) -> None:
    found, findings = examine_base(base_spec(model), {})
    assert findings == []
    assert found.parameters == load_model(base_spec(model), dtype="float32").num_parameters()
    assert found.weight_bytes == (model / "model.safetensors").stat().st_size
    assert (found.architecture, found.tokenizer, found.chat_template) == ("LlamaForCausalLM", True, True)
    assert found.folder == str(model)


def test_the_bundled_model_is_whole() -> None:
    found, findings = examine_base(BaseModelSpec(model="pocket"), {})
    assert (found.parameters, findings) == (3_410_176, [])


def _cut(folder: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])


def _point(folder: Path) -> None:
    (folder / "model.safetensors").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n")


def _pickle(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")


def _gguf(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "model.gguf")


def _adapter(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "adapter_model.safetensors")
    (folder / "adapter_config.json").write_text("{}")


def _shards(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "model-00001-of-00002.safetensors")
    names = {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": names}))


def _strange(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "model_type": "llama9", "auto_map": {"AutoModel": "x"}}))


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (_cut, "model.safetensors is [0-9,]+ bytes, its header says [0-9,]+: it was cut short or changed; copy or"),
        (_point, "model.safetensors is a pointer of Git LFS, not the weights; git lfs pull"),
        (lambda folder: (folder / "model.safetensors").write_bytes(b"\x09"), "is not a safetensors file"),
        (lambda folder: (folder / "model.safetensors").write_bytes(b"\x04" + b"\0" * 7 + b"[1]!!"), "cannot be read"),
        (lambda folder: (folder / "model.safetensors").unlink(), "has no weights .*; copy or download it again, whole"),
        (_pickle, "has pickled weights only, which can run code"),
        (_gguf, "is a GGUF file, which cannot be trained on; take its safetensors"),
        (_adapter, "is an adapter, not a base; name the model that it was trained on"),
        (_shards, "lacks 1 of 2 weight files, model-00002-of-00002.safetensors first; copy or download it again"),
        (lambda folder: (folder / "chat_template.jinja").unlink(), "has no chat template .*; take an instruct model"),
        (lambda folder: (folder / "tokenizer.json").unlink(), "has no tokenizer"),
        (lambda folder: (folder / "config.json").write_text("{"), "has no readable config.json"),
        (
            lambda folder: (folder / "vocab.json").write_bytes(pickle.dumps(Payload(folder / "ran"))),
            "vocab.json: is a pickle .*; nothing of it was loaded",
        ),
        (_strange, "is of type 'llama9', which the installed transformers does not know, and code that comes with"),
    ],
)
def test_each_damage_is_missing_in_one_line(damage: Callable[[Path], object], said: str, copy: Path) -> None:
    damage(copy)
    _, findings = examine_base(base_spec(copy), {})
    (finding,) = findings
    assert finding.level == "missing"
    line = str(finding)
    assert re.search(said, line), line
    assert "\n" not in line


def test_a_template_in_the_tokenizers_configuration_counts(copy: Path) -> None:
    template = (copy / "chat_template.jinja").read_text()
    (copy / "chat_template.jinja").unlink()
    config = json.loads((copy / "tokenizer_config.json").read_text())
    (copy / "tokenizer_config.json").write_text(json.dumps({**config, "chat_template": template}))
    assert examine_base(base_spec(copy), {})[1] == []


def test_more_tokens_than_the_model_was_made_for_are_doubtful(model: Path) -> None:
    ((finding),) = examine_base(base_spec(model, max_length=4096), {})[1]
    assert str(finding).startswith("doubtful: base.max_length is 4096")
    assert str(finding).endswith("was made for 512 tokens; set it to 512")


def test_a_folder_that_is_not_there_is_missing() -> None:
    found, (finding,) = examine_base(BaseModelSpec(model="./no-such-folder"), {})
    assert str(finding) == "missing: base.model './no-such-folder': no such folder; correct the path in the recipe"
    assert (found.folder, found.parameters) == ("", None)


def test_a_hub_model_is_looked_for_in_the_cache_only(model: Path, tmp_path: Path) -> None:
    """In a child, because the hub's client reads its environment when imported; it has no network to ask."""
    commit = "5f7ef6c9d1a5c6a8ea1a2c0a3b2f0c9b0a7d4e11"
    folder = tmp_path / "models--someone--small"
    shutil.copytree(model, folder / "snapshots" / commit)
    (folder / "refs").mkdir()
    (folder / "refs" / "main").write_text(commit)
    part = tmp_path / "models--someone--part" / "snapshots" / commit
    part.mkdir(parents=True)
    shutil.copy(model / "config.json", part)
    shutil.copytree(folder / "refs", part.parents[1] / "refs")
    code = (
        "from flytewheel.doctor.base import examine_base; from flytewheel.recipe import BaseModelSpec\n"
        "for name in ('someone/small', 'someone/part', 'someone/other'):\n"
        "    for environ in ({}, {'HF_HUB_OFFLINE': '1'}):\n"
        "        found, said = examine_base(BaseModelSpec(model=name, max_length=128), environ)\n"
        "        print(found.parameters, *sorted(each.level for each in said))"
    )
    environ = {**os.environ, "HF_HUB_CACHE": str(tmp_path), "HF_HUB_OFFLINE": "0"}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environ, cwd=Path(__file__).parents[2], capture_output=True, text=True,
        check=True,
    )  # fmt: skip
    whole = examine_base(base_spec(model), {})[0].parameters
    assert done.stdout.splitlines() == [
        f"{whole}", f"{whole}", "None doubtful", "None missing missing missing", "None doubtful", "None missing",
    ]  # fmt: skip
