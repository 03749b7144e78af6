from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from flytewheel.errors import RegistryError
from registry.manifest import Manifest, Version, parse_version
from registry.store import ObjectStore
from registry.versions import Registry

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)  # a Saturday in ISO week 47
REPOSITORY = Path(__file__).parents[2]


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    folder = tmp_path / "files"
    folder.mkdir()
    (folder / "model.gguf").write_bytes(b"weights" * 1000)
    (folder / "config.json").write_bytes(b"{}")
    return {"model.gguf": folder / "model.gguf", "adapter/config.json": folder / "config.json"}


@pytest.fixture
def registry(store: ObjectStore) -> Registry:
    return Registry(store, clock=lambda: NOW)


def register(registry: Registry, files: dict[str, Path], key: str, **options: Any) -> Manifest:
    return registry.register("assistant", files, **{"facts": {"run_id": key}, "key": key, "now": NOW, **options})


def test_versions_count_up_within_an_iso_week(registry: Registry, files: dict[str, Path]) -> None:
    base = register(registry, files, "base", base_version=True)
    first = register(registry, files, "run-1")
    second = register(registry, files, "run-2")
    next_week = register(registry, files, "run-3", now=NOW + timedelta(days=2))

    assert [base.version, first.version, second.version, next_week.version] == [
        "v1.202647.0",
        "v1.202647.1",
        "v1.202647.2",
        "v1.202648.1",
    ]
    assert [item.version for item in registry.list("assistant")] == [
        item.version for item in (base, first, second, next_week)
    ]
    assert registry.names() == ["assistant"]
    assert registry.show("assistant", first.version) == first
    assert first.facts == {"run_id": "run-1"}
    assert first.files["model.gguf"].size == 7000


@pytest.mark.parametrize(
    ("day", "version"),
    [("2027-01-01", "v1.202653.1"), ("2024-12-30", "v1.202501.1"), ("2026-11-21", "v1.202647.1")],
)
def test_the_iso_year_goes_with_the_iso_week(day: str, version: str) -> None:
    assert str(Version.of_week(datetime.fromisoformat(f"{day}T12:00+00:00"), 1)) == version
    assert parse_version(version) is not None


def test_versions_sort_as_numbers() -> None:
    names = ["v1.202647.10", "v1.202647.9", "v1.202601.11"]
    assert sorted(names, key=lambda name: parse_version(name) or Version(0, 0, 0)) == names[::-1]
    assert parse_version("v1.202647.01") is None
    assert parse_version("champion") is None


def test_a_key_registers_once_even_in_another_week_with_other_files(
    registry: Registry, files: dict[str, Path], store: ObjectStore
) -> None:
    first = register(registry, files, "run")
    files["model.gguf"].write_bytes(b"retrained")
    before = store.list()
    assert register(registry, files, "run", now=NOW + timedelta(days=30)) == first
    assert store.list() == before


def test_the_same_bytes_are_stored_once(registry: Registry, files: dict[str, Path], store: ObjectStore) -> None:
    register(registry, files, "run-1")
    register(registry, files, "run-2")
    assert len(store.list("blobs/")) == 2


def _race(count: int, work: Callable[[int], Manifest]) -> list[Manifest]:
    barrier = threading.Barrier(count)

    def at_once(index: int) -> Manifest:
        barrier.wait(timeout=30)
        return work(index)

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(at_once, range(count)))


def test_eight_at_once_get_eight_versions(registry: Registry, files: dict[str, Path]) -> None:
    won = _race(8, lambda index: register(registry, files, f"run-{index}"))
    assert sorted(item.version for item in won) == [f"v1.202647.{iteration}" for iteration in range(1, 9)]
    assert [item.version for item in registry.list()] == sorted(item.version for item in won)
    for item in won:
        assert registry.show("assistant", item.version) == item


def test_eight_at_once_with_one_key_get_one_version(registry: Registry, files: dict[str, Path]) -> None:
    won = _race(
        8, lambda index: register(registry, files, "run", facts={"try": index}, now=NOW + timedelta(hours=index))
    )
    assert len({item.digest for item in won}) == 1
    assert registry.list() == won[:1]
    assert len(registry.log("assistant")) == 1


def test_two_by_two_with_four_keys_get_four_versions(registry: Registry, files: dict[str, Path]) -> None:
    won = _race(8, lambda index: register(registry, files, f"run-{index // 2}"))
    assert len({item.version for item in won}) == len(registry.list()) == 4
    assert {item.key: item.version for item in won} == {item.key: item.version for item in registry.list()}


def stop(*_: Any, **__: Any) -> None:
    raise KeyboardInterrupt


def before_first(
    monkeypatch: pytest.MonkeyPatch, owner: Any, method: str, act: Callable[[], Any], prefix: str = ""
) -> None:
    """Lets `act` happen just before the first call of a method (with a key like `prefix`): one exact interleaving."""
    call = getattr(owner, method)
    done: list[bool] = []

    def interrupted(*args: Any, **options: Any) -> Any:
        if not done and str(args[0]).startswith(prefix):
            done.append(True)
            act()
        return call(*args, **options)

    monkeypatch.setattr(owner, method, interrupted)


def test_a_version_won_by_another_key_at_the_last_moment_stays_theirs(
    registry: Registry, files: dict[str, Path], store: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = Registry(store)
    before_first(monkeypatch, store, "put_bytes", lambda: register(other, files, "theirs"), "manifests/")
    assert register(registry, files, "ours").version == "v1.202647.2"
    assert [(item.version, item.key) for item in registry.list()] == [
        ("v1.202647.1", "theirs"),
        ("v1.202647.2", "ours"),
    ]


def test_a_key_claimed_at_the_last_moment_is_not_claimed_again(
    registry: Registry, files: dict[str, Path], store: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = Registry(store)
    before_first(monkeypatch, registry._registrations._claims, "next_version", lambda: register(other, files, "run"))
    assert register(registry, files, "run").version == "v1.202647.1"
    assert [item.version for item in registry.list()] == ["v1.202647.1"]


def test_a_claim_moved_at_the_last_moment_is_not_moved_again(
    registry: Registry, files: dict[str, Path], store: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = Registry(store)
    with monkeypatch.context() as patch:
        patch.setattr(store, "put_file", stop)
        with pytest.raises(KeyboardInterrupt):
            register(registry, files, "run")  # stopped with a claim on .1
    register(other, files, "theirs")  # which another key wins
    before_first(monkeypatch, registry._registrations._claims, "next_version", lambda: register(other, files, "run"))
    assert register(registry, files, "run").version == "v1.202647.2"
    assert [item.key for item in registry.list()] == ["theirs", "run"]


def test_a_kill_between_any_two_writes_leaves_no_version_or_a_whole_one(
    services: Any, store: ObjectStore, tmp_path: Path
) -> None:
    for kill in range(8):  # files of its own for each: a blob that is there is not written
        (tmp_path / str(kill)).mkdir()
        for name in ("model.gguf", "adapter.safetensors"):
            (tmp_path / str(kill) / name).write_text(f"{name} {kill}")
    # The writes are: key, two blobs, manifest, version, head, log; an eighth kill never comes.
    where = (services.s3_url, services.s3_access_key, services.s3_secret_key, store.bucket)
    child = subprocess.run(
        [sys.executable, str(Path(__file__).with_name("registration.py")), *where, str(tmp_path), "8"],
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert child.stdout.split("\n")[:8] == [*(f"{kill} -9" for kill in range(7)), "7 0"]

    registry = Registry(store)
    assert registry.names() == [
        "model-5",
        "model-6",
        "model-7",
    ]  # those killed after their commit, and the last
    for kill in range(8):
        flat = {path.name: path for path in (tmp_path / str(kill)).iterdir()}
        again = registry.register(f"model-{kill}", flat, facts={}, key="run", now=NOW)
        assert again.version == "v1.202647.1"
        assert [item.version for item in registry.list(f"model-{kill}")] == ["v1.202647.1"]
        assert [check.state for check in registry.verify(f"model-{kill}", again.version)] == ["ok", "ok"]
        assert [entry["what"] for entry in registry.log(f"model-{kill}")] == ["register"]


def test_a_claim_killed_before_its_commit_does_not_hold_up_others(
    registry: Registry, files: dict[str, Path], store: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(store, "put_file", stop)
        with pytest.raises(KeyboardInterrupt):
            register(registry, files, "stopped")
    assert register(registry, files, "other").version == "v1.202647.1"
    assert register(registry, files, "stopped").version == "v1.202647.2"


def test_download_brings_the_bytes_and_skips_what_is_there(
    registry: Registry, files: dict[str, Path], store: ObjectStore, tmp_path: Path
) -> None:
    version = register(registry, files, "run").version
    registry.set_alias("assistant", "champion", version)
    got = registry.download("assistant", "champion", tmp_path / "to")
    assert {str(path.relative_to(tmp_path / "to")) for path in got} == set(files)
    assert (tmp_path / "to/model.gguf").read_bytes() == files["model.gguf"].read_bytes()

    only = registry.download("assistant", version, tmp_path / "one", only=["model.gguf"])
    assert only == [tmp_path / "one/model.gguf"]
    assert [path.name for path in (tmp_path / "one").iterdir()] == ["model.gguf"]
    with pytest.raises(RegistryError, match="no file 'none'"):
        registry.download("assistant", version, tmp_path / "one", only=["none"])

    for blob in store.list("blobs/"):
        store.delete(blob)
    assert registry.download("assistant", version, tmp_path / "to") == got


def test_transfers_tell_how_far_they_are(registry: Registry, tmp_path: Path) -> None:
    sizes = {"a.gguf": 3 << 20, "b.gguf": 2 << 20}
    files = {name: tmp_path / name for name in sizes}
    for name, size in sizes.items():
        files[name].write_bytes(name[:1].encode() * size)
    told: list[tuple[str, int, int | None]] = []
    made = register(registry, files, "run", progress=lambda *words: told.append(words))
    registry.download("assistant", made.version, tmp_path / "to", progress=lambda *words: told.append(words))
    steps = {"hash": range(6), "register": (0, 3, 5), "download": range(6)}  # whole parts are sent, up to 16 MiB
    assert told == [(f"{what} assistant, MiB", done, 5) for what, dones in steps.items() for done in dones]


def test_a_corrupt_or_missing_blob_is_found_and_never_gets_its_name(
    registry: Registry, files: dict[str, Path], store: ObjectStore, tmp_path: Path
) -> None:
    manifest = register(registry, files, "run")
    blob = f"blobs/sha256/{manifest.files['model.gguf'].sha256}"
    store.put_bytes(blob, b"Weights" * 1000)
    assert {check.path: check.state for check in registry.verify("assistant", manifest.version)} == {
        "adapter/config.json": "ok",
        "model.gguf": "corrupt",
    }
    with pytest.raises(RegistryError, match=r"model\.gguf is corrupt in the store"):
        registry.download("assistant", manifest.version, tmp_path / "to", only=["model.gguf"])
    assert list((tmp_path / "to").iterdir()) == []

    store.delete(blob)
    assert [check.state for check in registry.verify("assistant", manifest.version)] == ["ok", "missing"]
    with pytest.raises(RegistryError, match=r"model\.gguf is missing from the store"):
        registry.download("assistant", manifest.version, tmp_path / "to")


def test_a_changed_manifest_is_found(registry: Registry, files: dict[str, Path], store: ObjectStore) -> None:
    manifest = register(registry, files, "run")
    changed = manifest.model_copy(update={"facts": {"verdict": "promote_to_canary"}})
    store.put_bytes(f"manifests/{manifest.digest}.json", changed.to_bytes())
    with pytest.raises(RegistryError, match="it was changed"):
        registry.show("assistant", manifest.version)
    store.put_bytes(f"manifests/{manifest.digest}.json", b"{}")
    with pytest.raises(RegistryError, match="it was changed"):
        registry.list()


def test_a_file_that_changes_while_it_is_sent_is_not_registered(
    registry: Registry, files: dict[str, Path], store: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    send = store.put_file

    def change_then_send(key: str, path: Path, **options: Any) -> str:
        path.write_bytes(b"Weights" * 1000 if path.suffix == ".gguf" else b"[]")
        return send(key, path, **options)

    monkeypatch.setattr(store, "put_file", change_then_send)
    with pytest.raises(RegistryError, match="changed while it was read"):
        register(registry, files, "run")
    assert store.list("blobs/") == []
    assert registry.names() == []


def test_what_is_not_there_is_named_with_what_is(registry: Registry, files: dict[str, Path]) -> None:
    version = register(registry, files, "run").version
    with pytest.raises(RegistryError, match=f"no version 'v1.202647.9'; known are {version}"):
        registry.show("assistant", "v1.202647.9")
    with pytest.raises(RegistryError, match="no version or alias 'champion'"):
        registry.show("assistant", "champion")
    with pytest.raises(RegistryError, match="there is no model 'helper'; known are assistant"):
        registry.show("helper", version)
    with pytest.raises(RegistryError, match=r"no version 'v1\.202601\.1'"):
        registry.set_alias("assistant", "champion", "v1.202601.1")
    with pytest.raises(RegistryError, match="can only point to a version"):
        registry.set_alias("assistant", "champion", "challenger")
    assert registry.list("helper") == []


@pytest.mark.parametrize("path", ["../x", "/x", "a/../../x", "", ".", "a\\b", "a//b"])
def test_paths_that_would_leave_the_folder_are_refused(registry: Registry, files: dict[str, Path], path: str) -> None:
    with pytest.raises(RegistryError, match="expected a plain relative path"):
        register(registry, {path: files["model.gguf"]}, "run")


def test_wrong_input_writes_nothing(registry: Registry, files: dict[str, Path], store: ObjectStore) -> None:
    with pytest.raises(RegistryError, match="file 'gone' is not there"):
        register(registry, {"gone": Path("gone")}, "run")
    with pytest.raises(RegistryError, match="no files"):
        register(registry, {}, "run")
    with pytest.raises(RegistryError, match="facts cannot be written as JSON"):
        register(registry, files, "run", facts={"loss": float("nan")})
    with pytest.raises(RegistryError, match="model name 'a/b'"):
        registry.register("a/b", files, facts={}, key="run", now=NOW)
    with pytest.raises(ValueError, match="time zone"):
        register(registry, files, "run", now=NOW.replace(tzinfo=None))
    assert store.list() == []
