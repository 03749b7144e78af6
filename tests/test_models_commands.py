"""`flytewheel models …` through click's runner, on a real object store and database."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result
from safetensors.numpy import save

from flytewheel.cli import main
from flytewheel.experiment import experiments
from registry.manifest import Manifest
from registry.store import ObjectStore
from tests.sealed import sealed_registry

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
NAME = "oncall"


class Shop:
    """A registry with two versions of a model, and the commands that see it."""

    def __init__(self, store: ObjectStore, folder: Path, monkeypatch: pytest.MonkeyPatch, services: Any) -> None:
        self.store = store
        self.folder = folder
        for key, value in {
            "FLYTEWHEEL_HOME": str(folder / "home"),
            "FLYTEWHEEL_S3_URL": services.s3_url,
            "FLYTEWHEEL_S3_ACCESS_KEY": services.s3_access_key,
            "FLYTEWHEEL_S3_SECRET_KEY": services.s3_secret_key,
            "FLYTEWHEEL_S3_BUCKET": store.bucket,
        }.items():
            monkeypatch.setenv(key, value)
        self.registry = sealed_registry(store, folder / "home")
        self.versions = [self.add("run-1", epochs=1, loss=0.5).version, self.add("run-2", epochs=3, loss=0.25).version]

    def add(self, key: str, *, epochs: int, loss: float) -> Manifest:
        own = self.folder / key
        (own / "adapter").mkdir(parents=True)
        contents = {
            "model.bin": f"weights of {key}".encode(),
            "Modelfile": b"FROM ./model.bin\n",
            "adapter/adapter_model.safetensors": save({"lora": np.full(1, epochs, dtype=np.float32)}),
        }
        for name, content in contents.items():
            (own / name).write_bytes(content)
        facts = {
            "kind": "candidate",
            "run_id": key,
            "base_model": "pocket",
            "base_digest": "b" * 64,
            "dataset_digest": key[-1] * 64,
            "recipe": {"training": {"epochs": epochs, "lora_rank": 16}},
            "recipe_digest": "c" * 64,
            "git_commit": "d" * 40,
            "verdict": "promote_to_canary",
            "reasons": ["for: shorter and truer"],
            "metrics": {"loss": loss, "rouge_l": 0.9},
            "parity": {"top1": 1.0},
        }
        return self.registry.register(NAME, {name: own / name for name in contents}, facts=facts, key=key, now=NOW)

    def call(self, *words: str | Path) -> Result:
        return CliRunner().invoke(main, ["models", *map(str, words)])

    def text(self, *words: str | Path) -> str:
        result = self.call(*words)
        assert result.exit_code == 0, result.output
        return result.stdout

    def json(self, *words: str | Path) -> Any:
        return json.loads(self.text(*words, "--json"))

    def refusal(self, *words: str | Path) -> str:
        result = self.call(*words)
        assert result.exit_code == 1, result.output
        (line,) = result.stderr.splitlines()
        assert line.startswith("error: ")
        return line


@pytest.fixture
def shop(store: ObjectStore, tmp_path: Path, database_url: str, monkeypatch: pytest.MonkeyPatch, services: Any) -> Shop:
    monkeypatch.setenv("FLYTEWHEEL_DATABASE_URL", database_url)
    return Shop(store, tmp_path, monkeypatch, services)


def test_versions_are_listed_with_their_aliases_and_shown_on_a_page(shop: Shop) -> None:
    one, two = shop.versions
    shop.registry.promote(NAME, one)
    shop.registry.promote(NAME, two)
    lines = [line.split() for line in shop.text("list").splitlines()]
    assert [line[:3] for line in lines[1:]] == [[NAME, two, "champion"], [NAME, one, "previous"]]
    found = shop.json("list", NAME)
    assert [(each["version"], each["aliases"]) for each in found] == [(two, ["champion"]), (one, ["previous"])]
    assert shop.json("show", NAME, "champion") == found[0]
    page = shop.text("show", NAME, "champion")
    for said in (f"{NAME} {two} (champion)", "for: shorter and truer", "loss     0.25", "d" * 40, found[0]["digest"]):
        assert said in page
    for path, file in found[0]["files"].items():
        assert path in page
        assert file["sha256"] in page


def test_what_is_unknown_is_answered_with_what_is_near(shop: Shop) -> None:
    assert "there is no model 'oncal'; near is oncall" in shop.refusal("list", "oncal")
    assert "there is no model 'oncal'; near is oncall" in shop.refusal("verify", "oncal")
    assert "there is no model 'oncal'; near is oncall" in shop.refusal("history", "oncal")
    assert f"known are {', '.join(shop.versions)}" in shop.refusal("show", NAME, "v1.202601.1")
    assert "no version or alias 'champion'" in shop.refusal("download", NAME, "champion", shop.folder / "to")
    assert "nothing was champion before now" in shop.refusal("rollback", NAME, "--reason", "x")


def test_two_versions_are_compared_file_by_file_and_fact_by_fact(shop: Shop) -> None:
    found = shop.json("diff", NAME, *shop.versions)
    assert {row["path"]: row["change"] for row in found["files"]} == {
        "Modelfile": "same",
        "adapter/adapter_model.safetensors": "changed",
        "model.bin": "changed",
    }
    rows = {row["fact"]: (row["before"], row["after"], row["difference"]) for row in found["facts"]}
    assert rows == {
        "dataset_digest": ("1" * 64, "2" * 64, None),
        "metrics.loss": (0.5, 0.25, -0.25),
        "recipe.training.epochs": (1, 3, 2.0),
        "run_id": ("run-1", "run-2", None),
    }
    text = shop.text("diff", NAME, *shop.versions)
    assert "recipe.training.epochs  1" in text
    assert "-0.25" in text
    assert "no fact differs" in shop.text("diff", NAME, shop.versions[0], shop.versions[0])


def test_lineage_walks_back_to_data_recipe_code_and_base(shop: Shop) -> None:
    found = {each["what"]: each["which"] for each in shop.json("lineage", NAME, shop.versions[1])}
    assert found["data set"] == "2" * 64
    assert found["code"] == "d" * 40
    assert found["base model"] == f"pocket {'b' * 64}"
    assert found["adapter"].startswith("adapter/adapter_model.safetensors ")
    assert found["recipe"] == "c" * 64


def test_promoting_and_rolling_back_are_told_and_kept(shop: Shop) -> None:
    one, two = shop.versions
    assert f"champion nothing → {one}" in shop.text("promote", NAME, one, "--reason", "the first", "--by", "kim")
    assert "already" in shop.text("promote", NAME, one, "--reason", "again")
    assert f"not {two} as expected" in shop.refusal("promote", NAME, two, "--reason", "x", "--expect", two)
    moved = shop.json("promote", NAME, two, "--reason", "won", "--by", "ada", "--expect", one)
    assert (moved["move"]["was"], moved["champion"], moved["previous"]) == (one, two, one)
    assert f"champion {two} → {one} again" in shop.text("rollback", NAME, "--reason", "it sulks", "--by", "lee")
    found = shop.json("history", NAME)
    assert [(each["kind"], each["was"], each["version"], each["by"], each["reason"]) for each in found] == [
        ("promote", "", one, "kim", "the first"),
        ("promote", one, two, "ada", "won"),
        ("rollback", two, one, "lee", "it sulks"),
    ]
    assert "it sulks" in shop.text("history", NAME, "champion")
    assert shop.call("promote", NAME, two).exit_code == 2  # no reason given


def test_nobody_is_promoted_past_a_running_experiment(shop: Shop, database_url: str) -> None:
    one, two = shop.versions
    shop.registry.promote(NAME, one)
    shop.registry.promote(NAME, two)
    made = experiments.open_experiment(
        database_url, name=NAME, control=two, treatment=one, share=0.1, launch_key="run", body={}
    ).experiment
    assert made.experiment_id in shop.refusal("promote", NAME, one, "--reason", "impatient")
    assert shop.registry.get_alias(NAME, "champion") == two
    told = shop.text("rollback", NAME, "--reason", "an emergency")  # that one is not held up
    assert f"experiment {made.experiment_id} still gives users" in told
    assert shop.registry.get_alias(NAME, "champion") == one


def test_a_download_that_was_cut_off_is_gone_on_with(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    to = shop.folder / "to"
    brought = shop.json("download", NAME, shop.versions[0], to)
    assert {Path(path).relative_to(to).as_posix() for path in brought} == {
        "Modelfile",
        "adapter/adapter_model.safetensors",
        "model.bin",
    }
    file = shop.registry.show(NAME, shop.versions[0]).files["model.bin"]
    (to / "model.bin").unlink()
    part = to / f".model.bin.{file.sha256[:16]}.part"
    (to / f".model.bin.{'f' * 16}.part").write_bytes(b"of another version")
    starts: list[int] = []
    stream = ObjectStore.stream

    def noted(store: ObjectStore, key: str, start: int = 0) -> Any:
        starts.append(start)
        return stream(store, key, start)

    monkeypatch.setattr(ObjectStore, "stream", noted)
    for left, asked in ((b"weights", [7]), (b"Weights", [7, 0]), (b"weights of run-1 and more", [0])):
        part.write_bytes(left)
        starts.clear()
        assert shop.text("download", NAME, shop.versions[0], to, "--only", "model.bin")
        assert (to / "model.bin").read_bytes() == b"weights of run-1"
        assert starts == asked
        assert not [path.name for path in to.iterdir() if path.name.endswith(".part")]
        (to / "model.bin").write_bytes(b"altered on this disk")


def test_verify_reads_one_or_all_and_says_what_is_wrong(shop: Shop) -> None:
    one, two = shop.versions
    shop.registry.promote(NAME, one)
    assert shop.json("verify", NAME, one) == [each for each in shop.json("verify") if each["version"] == one]
    assert "6 right, 0 at fault" in shop.text("verify")
    file = shop.registry.show(NAME, two).files["model.bin"]
    shop.store.put_bytes(f"blobs/sha256/{file.sha256}", b"weights of run-3")
    shop.store.put_bytes(f"aliases/{NAME}/champion", b"{}")
    (entry,) = [key for key in shop.store.list(f"log/{NAME}/") if "alias" in key]
    shop.store.put_bytes(entry, shop.store.get_bytes(entry).replace(b"promote", b"promoted"))
    result = shop.call("verify", "--json")
    assert result.exit_code == 1
    faults = [(each["path"], each["state"]) for each in json.loads(result.stdout) if each["state"] != "ok"]
    assert faults == [("model.bin", "corrupt"), (f"aliases/{NAME}/champion", "faulty"), (entry, "faulty")]
    shop.store.delete(f"versions/{NAME}/{one}")
    text = shop.call("verify", NAME).stdout
    assert f"{one} is missing: later ones of its week are there" in text


def test_gc_says_first_and_does_it_on_demand(shop: Shop) -> None:
    left = f"blobs/sha256/{'0' * 64}"
    shop.store.put_bytes(left, b"left behind")
    dry = shop.text("gc", "--grace-hours", "0")
    assert left in dry
    assert "would be condemned: 1 objects, 11 bytes" in dry
    assert "flytewheel models gc --apply" in dry
    assert "too young to be condemned: 1" in shop.text("gc")
    shop.text("gc", "--apply", "--grace-hours", "0")
    found = shop.json("gc", "--apply", "--grace-hours", "0")
    assert [each["key"] for each in found["deleted"]] == [left]
    assert not shop.store.exists(left)
    assert "6 right, 0 at fault" in shop.text("verify")
    assert "longer than the hold" in shop.refusal("gc", "--hold-days", "0")


def test_an_exported_folder_proves_what_it_is(shop: Shop) -> None:
    to = shop.folder / "bundle"
    version = shop.versions[0]
    written = shop.json("export", NAME, version, to)
    assert {Path(path).relative_to(to).as_posix() for path in written} == {
        "Modelfile",
        "adapter/adapter_model.safetensors",
        "model.bin",
    }
    assert shop.text("verify", "--folder", to).endswith("whole, and signed\n")
    manifest = shop.registry.show(NAME, version)
    assert Manifest.from_bytes((to / "provenance.json").read_bytes(), digest=manifest.digest) == manifest
    (to / "model.bin").unlink()
    assert shop.text("export", NAME, version, to)
    assert (to / "model.bin").read_bytes() == b"weights of run-1"
    assert "holds something else" in shop.refusal("export", NAME, shop.versions[1], to)
