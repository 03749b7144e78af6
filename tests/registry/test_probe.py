from __future__ import annotations

import importlib.util
import time
from pathlib import Path
from typing import Any

import pytest

from flytewheel.errors import StoreError
from registry.probe import check_promises
from registry.store import ObjectStore

_spec = importlib.util.spec_from_file_location("s3_stand_in", Path(__file__).with_name("s3_stand_in.py"))
assert _spec
assert _spec.loader
s3_stand_in: Any = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(s3_stand_in)


def test_a_good_store_passes_soon_and_keeps_nothing_of_it(store: ObjectStore) -> None:
    started = time.monotonic()
    check_promises(store)
    assert time.monotonic() - started < 5
    assert store.list() == []


def test_a_stand_in_without_a_fault_passes() -> None:
    with s3_stand_in.serve("right") as url:
        check_promises(ObjectStore(url, "key", "secret", "bucket"))


@pytest.mark.parametrize(
    ("behaviour", "reason"),
    [
        ("careless", "of 8 writers with If-None-Match, 8 won where exactly one may"),
        ("no If-Match", "of 8 writers with If-Match, 8 won where exactly one may"),
        ("forgets replacements", "of 8 writers with If-Match, 8 won where exactly one may"),
        ("stale reads", "a read after a write brought what was there before"),
        ("stale listings", "a listing after a write does not show the object"),
        ("text mode", "bytes of every value came back as"),
        ("weak ETags", "an object that was changed kept its ETag"),
        ("no ranges", "a read from the middle of an object brought other bytes"),
    ],
)
def test_a_store_that_breaks_one_promise_is_refused_with_the_reason(behaviour: str, reason: str) -> None:
    with s3_stand_in.serve(behaviour) as url:
        store = ObjectStore(url, "key", "secret", "bucket")
        for _ in range(2):  # a failure is not remembered as a pass
            with pytest.raises(StoreError, match="is refused") as raised:
                store.probe()
            assert reason in str(raised.value)
            assert "\n" not in str(raised.value)
