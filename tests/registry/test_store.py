from __future__ import annotations

import hashlib
import importlib.util
import re
import socket
import time
from pathlib import Path
from typing import Any

import pytest

from flytewheel.errors import StoreError
from registry.store import ObjectStore

_spec = importlib.util.spec_from_file_location("s3_stand_in", Path(__file__).with_name("s3_stand_in.py"))
assert _spec
assert _spec.loader
s3_stand_in: Any = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(s3_stand_in)


def test_objects_are_written_read_listed_and_deleted(store: ObjectStore) -> None:
    store.put_bytes("a/2", b"two")
    store.put_bytes("a/1", b"one")
    store.put_bytes("b", b"")

    assert store.list("a/") == ["a/1", "a/2"]
    assert store.list() == ["a/1", "a/2", "b"]
    assert store.get_bytes("a/2") == b"two"
    assert (store.size("a/1"), store.size("b"), store.size("c")) == (3, 0, None)
    assert store.exists("b")
    store.delete("a/1")
    store.delete("a/1")
    assert store.read("a/1") is None
    with pytest.raises(StoreError, match="no object 'a/1'"):
        store.get_bytes("a/1")


def test_a_file_of_several_parts_comes_back_the_same(store: ObjectStore, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.write_bytes(bytes(range(256)) * (80 << 10))  # 20 MiB: two parts

    sent = store.put_file("big", source)
    got = store.get_file("big", tmp_path / "deep" / "copy")

    assert sent == got == hashlib.sha256(source.read_bytes()).hexdigest()
    assert (tmp_path / "deep" / "copy").read_bytes() == source.read_bytes()


def test_a_missing_object_leaves_no_file(store: ObjectStore, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="NoSuchKey"):
        store.get_file("none", tmp_path / "copy")
    assert list(tmp_path.iterdir()) == []


def test_create_and_replace_are_conditional(store: ObjectStore) -> None:
    etag = store.put_if_absent("key", b"first")
    assert etag is not None
    assert store.put_if_absent("key", b"second") is None
    newer = store.put_if_match("key", b"third", etag)
    assert newer is not None
    assert store.put_if_match("key", b"fourth", etag) is None
    assert store.put_if_match("never", b"x", etag) is None
    found = store.read("key")
    assert found is not None
    assert (found.data, found.etag) == (b"third", newer)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        (f"http://127.0.0.1:{_free_port()}", "Connection refused"),
        ("http://no-such-host.invalid:9000", "no such host"),
    ],
    ids=["nothing listens", "no such host"],
)
def test_a_store_that_is_away_is_one_line_soon(url: str, reason: str) -> None:
    started = time.monotonic()
    with pytest.raises(StoreError, match=re.escape(reason)) as raised:
        ObjectStore(url, "key", "secret", "bucket").ensure_bucket()
    assert time.monotonic() - started < 6
    assert "\n" not in str(raised.value)
    assert "FLYTEWHEEL_S3_URL" in str(raised.value)


def test_a_store_that_hangs_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("registry.store.FIRST_READ_TIMEOUT_S", 0.3)
    with s3_stand_in.serve("hangs") as url, pytest.raises(StoreError, match="connected, but no answer in time"):
        ObjectStore(url, "key", "secret", "bucket").ensure_bucket()


def test_wrong_keys_are_named_but_not_printed() -> None:
    with s3_stand_in.serve("refuses keys") as url:
        store = ObjectStore(url, "key", "very-secret", "bucket")
        with pytest.raises(StoreError, match="refuses the keys") as raised:
            store.get_bytes("any")
        assert "very-secret" not in str(raised.value)
        with pytest.raises(StoreError, match="refuses the keys"):
            store.ensure_bucket()


def test_a_web_page_is_no_store() -> None:
    with s3_stand_in.serve("web page") as url, pytest.raises(StoreError, match="does not answer as an S3 store"):
        ObjectStore(url, "key", "secret", "bucket").get_bytes("any")


def test_a_bucket_that_is_not_there_and_a_name_that_cannot_be(services: Any) -> None:
    keys = (services.s3_access_key, services.s3_secret_key)
    with pytest.raises(StoreError, match="has no bucket 'never-made'"):
        ObjectStore(services.s3_url, *keys, "never-made").list()
    with pytest.raises(StoreError, match="invalid bucket name"):
        ObjectStore(services.s3_url, *keys, "B_").ensure_bucket()
    with pytest.raises(StoreError, match=r"expected http\(s\)://host"):
        ObjectStore("s3.local:9000", *keys, "bucket")
