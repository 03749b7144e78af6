from __future__ import annotations

import hashlib
import random
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from flytewheel.errors import RegistryError
from registry.collection import Collection, collect, tell_time
from registry.manifest import Manifest
from registry.store import ObjectStore
from registry.versions import Registry

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
NONE = timedelta(0)
REQUESTS = (
    "put_bytes", "put_file", "put_if_absent", "put_if_match", "read", "size", "describe", "delete", "list_uploads",
)  # fmt: skip


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    for name in ("model.gguf", "config.json"):
        (tmp_path / name).write_text(f"content of {name}")
    return {name: tmp_path / name for name in ("model.gguf", "config.json")}


def register(store: ObjectStore, files: dict[str, Path], key: str = "run") -> Manifest:
    return Registry(store).register("assistant", files, facts={}, key=key, now=NOW)


def sweep(store: ObjectStore, **options: Any) -> Collection:
    return collect(store, **{"apply": True, "grace": NONE, **options})


def litter(store: ObjectStore, files: dict[str, Path]) -> list[str]:
    """Blobs with the content of `files` that nothing needs."""
    keys = []
    for path in files.values():
        keys.append(f"blobs/sha256/{hashlib.sha256(path.read_bytes()).hexdigest()}")
        store.put_bytes(keys[-1], path.read_bytes())
    return sorted(keys)


def later(days: float) -> Callable[[ObjectStore], datetime]:
    return lambda store: tell_time(store) + timedelta(days=days)


def keys(found: tuple[Any, ...]) -> list[str]:
    return sorted(each.key for each in found)


def check_whole(store: ObjectStore) -> list[str]:
    """The versions that are there, after each was read through."""
    registry = Registry(store)
    made = registry.list()
    for each in made:
        assert [check.state for check in registry.verify(each.name, each.version)] == ["ok"] * len(each.files)
    return [each.version for each in made]


def test_nothing_is_kept_of_a_dry_run_and_two_passes_delete(store: ObjectStore, files: dict[str, Path]) -> None:
    register(store, {"model.gguf": files["model.gguf"]})
    left = litter(store, {"config.json": files["config.json"]})
    store.put_bytes("probe/killed", b"x")
    store.put_bytes("datasets/abc/card.json", b"{}")
    before = store.list()

    dry = collect(store, grace=NONE)
    assert (dry.applied, keys(dry.condemned), dry.deleted) == (False, [*left, "probe/killed"], ())
    assert dry.foreign == 1
    assert [each.size for each in dry.condemned] == [len("content of config.json"), 1]
    assert store.list() == before

    first = sweep(store)
    assert (keys(first.condemned), first.deleted) == ([*left, "probe/killed"], ())
    assert [key for key in store.list() if key != "gc/condemned"] == before
    again = collect(store, grace=NONE)
    assert (again.condemned, keys(again.deleted)) == ((), [*left, "probe/killed"])
    second = sweep(store)
    assert (second.condemned, keys(second.deleted)) == ((), [*left, "probe/killed"])
    assert set(before) - set(store.list()) == {*left, "probe/killed"}
    assert check_whole(store) == ["v1.202647.1"]


def test_the_grace_period_is_kept_twice_by_the_stores_clock(store: ObjectStore, files: dict[str, Path]) -> None:
    left = litter(store, files)
    assert sweep(store, grace=timedelta(days=1)).young == 2
    assert keys(sweep(store, grace=timedelta(days=1), clock=later(1.5)).condemned) == left
    assert keys(sweep(store, grace=timedelta(days=1), clock=later(2)).waiting) == left
    store.put_bytes(left[0], b"written since then")
    swept = sweep(store, grace=timedelta(days=1), clock=later(3))
    assert (keys(swept.deleted), keys(swept.condemned)) == (left[1:], left[:1])


def test_an_unfinished_registration_keeps_its_blobs_until_nobody_goes_on_with_it(
    store: ObjectStore, files: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    store.probe()
    with monkeypatch.context() as patch:
        patch.setattr(store, "put_bytes", stop)  # the manifest
        with pytest.raises(KeyboardInterrupt):
            register(store, files)
    blobs = store.list("blobs/")
    assert len(blobs) == 2
    for days in (0, 6):
        assert sweep(store, clock=later(days)).condemned == ()
    assert keys(collect(store, grace=NONE, clock=later(8)).condemned) == blobs  # a dry run takes no hold away
    assert sweep(store, clock=later(6)).condemned == ()
    sweep(store, clock=later(8))
    assert keys(sweep(store, clock=later(8)).deleted) == blobs
    assert register(store, files).version == "v1.202647.1"  # under the same key, from the beginning
    assert check_whole(store) == ["v1.202647.1"]
    assert len(store.list("blobs/")) == 2


def test_a_manifest_goes_with_its_signature_once_another_owns_its_number(
    store: ObjectStore, files: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def lose(key: str, data: bytes) -> str | None:
        if key.startswith("versions/"):
            raise KeyboardInterrupt
        return create(key, data)

    store.probe()
    create = store.put_if_absent
    with monkeypatch.context() as patch:
        patch.setattr(store, "put_if_absent", lose)
        with pytest.raises(KeyboardInterrupt):
            register(store, files, "killed before its commit")
    [orphan] = store.list("manifests/")
    signature = orphan.replace("manifests/", "signatures/")
    store.put_bytes(signature, b"signed")
    assert sweep(store).condemned == ()  # its number is free: whoever wrote it may still commit it
    made = register(store, files, "other")
    assert keys(sweep(store).condemned) == [orphan, signature]
    assert keys(sweep(store).deleted) == [orphan, signature]
    assert store.list("manifests/") == [f"manifests/{made.digest}.json"]
    assert register(store, files, "killed before its commit").version == "v1.202647.2"
    assert check_whole(store) == ["v1.202647.1", "v1.202647.2"]


def test_what_cannot_be_read_stops_it_before_anything_goes(store: ObjectStore, files: dict[str, Path]) -> None:
    made = register(store, files)
    litter(store, {"other": files["model.gguf"].with_name("config.json")})
    for key in (f"versions/assistant/{made.version}", f"manifests/{made.digest}.json", *store.list("keys/")):
        right = store.get_bytes(key)
        store.put_bytes(key, right[:-3] + b"9" + right[-2:])
        before = store.list()
        with pytest.raises(RegistryError, match="nothing was collected"):
            sweep(store)
        assert store.list() == before
        store.put_bytes(key, right)
    with pytest.raises(RegistryError, match="longer than the hold"):
        collect(store, grace=timedelta(days=8))


def test_uploads_that_nobody_goes_on_with_are_given_up(store: ObjectStore, files: dict[str, Path]) -> None:
    for key in ("blobs/sha256/" + "0" * 64, "runs/x/model"):
        store._client._create_multipart_upload(store.bucket, key, {})
    assert sweep(store, grace=timedelta(days=1)).uploads == ()
    assert len(store.list_uploads("")) == 2
    assert collect(store, clock=later(2)).uploads == ("blobs/sha256/" + "0" * 64,)
    assert sweep(store, clock=later(2)).uploads == ("blobs/sha256/" + "0" * 64,)
    assert [each.key for each in store.list_uploads("")] == ["runs/x/model"]  # not the registry's


# ------------------------------------------------------------------- a publisher and a collector at once


def at_step(store: ObjectStore, monkeypatch: pytest.MonkeyPatch, step: int, act: Callable[[], Any]) -> list[int]:
    """Lets `act` happen before the n-th request of `store`; the list that is returned ends with how many there were."""
    made = [0]

    def counted(call: Any) -> Any:
        def request(*args: Any, **options: Any) -> Any:
            made[0] += 1
            if made[0] - 1 == step:
                act()
            return call(*args, **options)

        return request

    for name in REQUESTS:
        monkeypatch.setattr(store, name, counted(getattr(store, name)))
    return made


def twin(store: ObjectStore) -> ObjectStore:
    """Another client of the same bucket."""
    made = object.__new__(ObjectStore)
    made.__dict__.update({key: value for key, value in store.__dict__.items() if key not in REQUESTS})
    return made


@pytest.mark.parametrize("outer", ["publisher", "collector"])
def test_a_condemned_blob_that_is_wanted_again_survives_between_any_two_requests(
    store: ObjectStore, files: dict[str, Path], monkeypatch: pytest.MonkeyPatch, outer: str
) -> None:
    store.probe()
    del files["config.json"]
    other, step, editions = twin(store), 0, set()
    while True:
        for path in files.values():
            path.write_text(f"{outer} {step} {path.name}")
        litter(other, files)
        sweep(other)  # condemns them
        acts: list[Callable[[ObjectStore], Any]] = [partial(register, files=files, key=str(step)), sweep]
        ours, theirs = acts if outer == "publisher" else acts[::-1]
        with monkeypatch.context() as patch:
            made = at_step(store, patch, step, partial(theirs, other))
            ours(store)
        if step >= made[0]:
            break
        found = Registry(other).list()
        assert [each.version for each in found] == check_whole(other) == ["v1.202647.1"]
        editions |= {file.edition for each in found for file in each.files.values()}
        step += 1
        for key in other.list():  # a bucket that grew would be swept in ever more requests
            other.delete(key)
    assert step > 10
    assert editions == {0, 1}  # both ways out were taken: the collector let it be, the publisher took another name


def test_a_publisher_whose_hold_ran_out_begins_again_at_any_request_before_its_manifest(
    store: ObjectStore, files: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As if it had slept for eight days, in which a collector came by twice."""
    store.probe()
    del files["config.json"]
    other, step = twin(store), 0

    def come_by() -> None:
        sweep(other, clock=later(8))
        sweep(other, clock=later(8))

    while True:
        manifest_at: list[int] = []
        with monkeypatch.context() as patch:
            made = at_step(store, patch, step, come_by)
            count = store.put_bytes

            def note(key: str, *rest: Any, count: Any = count, made: Any = made, seen: Any = manifest_at) -> None:
                count(key, *rest)
                if key.startswith("manifests/"):
                    seen.append(made[0])

            patch.setattr(store, "put_bytes", note)
            register(store, files, str(step))
        if step >= manifest_at[0] - 1:
            break
        assert check_whole(other) == ["v1.202647.1"]
        step += 1
        for key in other.list():
            other.delete(key)
    assert step > 5


def test_publishers_and_collectors_in_any_order(store: ObjectStore, tmp_path: Path) -> None:
    """Four publishers of the same few files and two collectors, all at once, with pauses where a seed says so."""
    store.probe()
    contents = {f"file-{each}": f"content {each}" for each in range(4)}
    for name, text in contents.items():
        (tmp_path / name).write_text(text)
    ended = threading.Event()
    failures: list[BaseException] = []

    def guarded(work: Callable[[random.Random], None], seed: int) -> threading.Thread:
        def run() -> None:
            try:
                work(random.Random(seed))
            except BaseException as error:
                failures.append(error)

        thread = threading.Thread(target=run)
        thread.start()
        return thread

    def publish(chance: random.Random) -> None:
        for turn in range(3):
            names = chance.sample(sorted(contents), 2)
            own = {name: tmp_path / name for name in names}
            register(store, own, f"{turn} {chance.random()}")

    def clean(chance: random.Random) -> None:
        while not ended.is_set():
            sweep(store)
            litter(store, {name: tmp_path / name for name in chance.sample(sorted(contents), 2)})

    cleaners = [guarded(clean, seed) for seed in range(2)]
    for thread in [guarded(publish, seed) for seed in range(10, 14)]:
        thread.join()
    ended.set()
    for thread in cleaners:
        thread.join()
    assert failures == []
    assert check_whole(store) == [f"v1.202647.{number}" for number in range(1, 13)]
