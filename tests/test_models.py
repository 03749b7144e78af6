"""Base models: what they consist of, and what is said when there is none."""

from __future__ import annotations

import os
import pickle
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from flytewheel.errors import BaseModelError
from flytewheel.models import (
    ADAPTER_FILES,
    base_digest,
    find_device,
    load_adapted,
    load_full,
    load_tokenizer,
    locate_base,
    token_counter,
    trained_files,
    trained_kind,
)
from flytewheel.recipe import BaseModelSpec
from flytewheel.training.sft import train_sft
from flytewheel.training.workplace import Workplace
from tests.tiny_model import build_tiny_model
from tests.training.teaching import base_spec, training_spec, write_teaching_data


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_tiny_model(tmp_path_factory.mktemp("model"))


def test_the_digest_is_of_what_the_model_consists_of(model: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(model, tmp_path / "another name"))
    first = base_digest(base_spec(model))
    assert base_digest(base_spec(copy)) == first
    (copy / "README.md").write_text("words")
    assert base_digest(base_spec(copy)) == first
    for name in ("config.json", "tokenizer.json", "model.safetensors", "chat_template.jinja"):
        before = (copy / name).read_bytes()
        (copy / name).write_bytes(before[:-1] + b" ")
        assert base_digest(base_spec(copy)) != first, name
        (copy / name).write_bytes(before)
    assert base_digest(base_spec(copy)) == first


def test_other_weights_under_the_same_name_are_trained_afresh(tmp_path: Path) -> None:
    data = write_teaching_data(tmp_path / "data", rows=8)
    base = base_spec(tmp_path / "base")
    found = []
    for seed in (0, 1, 0):
        build_tiny_model(tmp_path / "base", seed=seed)
        found.append(
            train_sft(
                data, tmp_path / f"out-{len(found)}", base=base, training=training_spec(max_steps=1), seed=1,
                at=Workplace(tmp_path / "checkpoints"),
            )
        )  # fmt: skip
    assert len(list(tmp_path.glob("checkpoints/sft-*/finished"))) == 2
    assert found[0] == found[2]  # the finished training is found again
    assert found[0].first_loss != found[1].first_loss


def test_a_hub_model_is_its_commit(model: Path, tmp_path: Path) -> None:
    """From a cache as the hub's client lays it out, in a child: the client reads its environment when imported."""
    commit = "5f7ef6c9d1a5c6a8ea1a2c0a3b2f0c9b0a7d4e11"
    folder = tmp_path / "models--someone--small"
    shutil.copytree(model, folder / "snapshots" / commit)
    (folder / "refs").mkdir()
    (folder / "refs" / "main").write_text(commit)
    code = (
        "from flytewheel.models import base_digest; from flytewheel.recipe import BaseModelSpec\n"
        "print(base_digest(BaseModelSpec(model='someone/small')))"
    )
    environ = {**os.environ, "HF_HUB_CACHE": str(tmp_path), "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=environ,
        cwd=Path(__file__).parents[1],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == commit


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("./no-such-folder", r"'\./no-such-folder': no such folder"),
        ("someone/never-cached", "cannot be loaded .HF_HUB_OFFLINE is set.*name a folder, a hub id"),
    ],
)
def test_a_model_that_does_not_exist_is_one_line(name: str, message: str) -> None:
    spec = BaseModelSpec(model=name)
    for ask in (base_digest, load_tokenizer):
        with pytest.raises(BaseModelError, match=message) as caught:
            ask(spec)
        assert "\n" not in str(caught.value)


def test_a_model_without_a_chat_template_is_refused(model: Path, tmp_path: Path) -> None:
    shutil.copytree(model, tmp_path / "base")
    (tmp_path / "base" / "chat_template.jinja").unlink()
    with pytest.raises(BaseModelError, match="has no chat template: take an instruct model"):
        load_tokenizer(base_spec(tmp_path / "base"))


def test_a_folder_is_found_and_a_hub_id_stays_one(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(model.parent)
    assert locate_base(BaseModelSpec(model=model.name)) == str(model)
    assert locate_base(BaseModelSpec(model="someone/small")) == "someone/small"
    assert Path(locate_base(BaseModelSpec(model="pocket"))).joinpath("model.safetensors").is_file()


def test_a_trained_folder_is_an_adapter_or_full_weights(model: Path, tmp_path: Path) -> None:
    spec = base_spec(model)
    with pytest.raises(BaseModelError, match=r"expected an adapter .* or full weights .*, found neither"):
        trained_kind(tmp_path)
    full = Path(shutil.copytree(model, tmp_path / "full"))
    assert trained_kind(full) == "full"
    assert trained_files(full) == ["config.json", "generation_config.json", "model.safetensors"]  # not the tokenizer
    assert load_adapted(spec, full, dtype="float32").num_parameters() > 0
    for name in ADAPTER_FILES:
        (tmp_path / name).write_text("{}")
    assert (trained_kind(tmp_path), trained_files(tmp_path)) == ("adapter", list(ADAPTER_FILES))
    (tmp_path / ADAPTER_FILES[1]).unlink()
    with pytest.raises(BaseModelError, match=r"adapter_model\.safetensors is missing; train it again"):
        trained_files(tmp_path)


def test_full_weights_are_looked_at_before_they_are_loaded(model: Path, tmp_path: Path) -> None:
    spec = base_spec(model)
    for name, content, said in (
        ("model.safetensors", pickle.dumps(print), "is a pickle"),
        ("pytorch_model.bin", pickle.dumps(print), "is a pickle"),
        ("model.safetensors", b"cut", "is not safetensors"),
    ):
        folder = Path(shutil.copytree(model, tmp_path / f"{name}-{len(content)}"))
        (folder / name).write_bytes(content)
        with pytest.raises(BaseModelError, match=said):
            load_full(spec, folder)
    deeper = build_tiny_model(tmp_path / "deeper", layers=3)
    with pytest.raises(BaseModelError, match=r"does not fit base\.model .*num_hidden_layers is 3, the base has 2"):
        load_full(spec, deeper)


def test_tokens_are_counted_without_special_ones(model: Path) -> None:
    count = token_counter(base_spec(model))
    assert count("") == 0
    assert 0 < count("restart") <= 7


def test_the_device_is_said() -> None:
    device = find_device()
    assert str(device) == f"{device.kind} ({device.name}, {device.dtype})"
