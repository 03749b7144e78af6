"""The faults of `benchmarks.registry` at a small scale, on the same real store process as every other test."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from benchmarks import registry_faults as faults
from benchmarks.registry import Store
from flytewheel.local import objects
from registry.registration import wait_s
from registry.store import ObjectStore


@pytest.fixture
def place(store: ObjectStore, services: Any) -> faults.Place:
    return faults.Place(services.s3_url, services.s3_access_key, services.s3_secret_key, store.bucket)


def test_a_crowd_gets_dense_numbers(place: faults.Place, tmp_path: Path) -> None:
    _, found = faults.crowd(place, tmp_path, publishers=8, versions=32)
    assert found == faults.Checked(versions=32, half_visible=0, gaps=0)


def test_publishers_killed_at_any_moment_leave_whole_versions(place: faults.Place, tmp_path: Path) -> None:
    caught, found = faults.kill_at_any_moment(place, tmp_path, kills=8, seed=3)
    assert caught
    assert found.versions >= 4  # every other one tried again
    assert (found.half_visible, found.gaps) == (0, 0)


def test_every_flipped_bit_is_refused(place: faults.Place, tmp_path: Path) -> None:
    found = faults.flip_bits(place, tmp_path, flips=80, seed=11)
    assert found.accepted == ()
    assert found.refused.keys() == {
        "blobs", "manifests", "signatures", "versions", "aliases", "keys", "log", "gc", "heads (harmless)",
    }  # fmt: skip


@pytest.fixture
def own_store(open_dir: Path) -> Iterator[Store]:
    store = Store(open_dir / "stopped")
    yield store
    store.kill(signal.SIGCONT)
    objects.stop(store.process)


def test_a_store_that_stops_in_the_middle_of_an_upload_shows_nothing_of_it(own_store: Store, tmp_path: Path) -> None:
    place = own_store.place("stops")
    place.open().probe()
    for name in ("paused", "killed"):
        file = tmp_path / name
        file.write_bytes(os.urandom(36 << 20))
        if name == "paused":
            code, seen = faults.stop_store_mid_upload(
                place, file, lambda: own_store.kill(signal.SIGSTOP), lambda: own_store.kill(signal.SIGCONT)
            )
            assert (code, seen) == (0, "versions/assistant/v1.202647.1")  # it only took longer
        else:
            code, seen = faults.stop_store_mid_upload(
                place, file, lambda: own_store.kill(signal.SIGKILL), own_store.start
            )
            assert (code, seen) == (3, "versions/assistant/v1.202647.1")  # told in one line; nothing new to be seen
        place = replace(place, url=own_store.place("stops").url)
    again = faults.open_registry(place).register(
        "assistant", {"m": tmp_path / "killed"}, facts={}, key="killed", now=faults.NOW
    )
    assert again.version == "v1.202647.2"
    assert faults.check_registry(place) == faults.Checked(versions=2, half_visible=0, gaps=0)


def test_who_loses_more_races_waits_longer_but_never_for_ever() -> None:
    spans = [max(wait_s(f"{place}", lost, 0.1) for place in range(200)) for lost in range(12)]
    assert all(0.9 * 0.1 * 2 ** (lost + 1) < span <= 0.1 * 2 ** (lost + 1) for lost, span in enumerate(spans[:8]))
    assert max(spans) <= 30
    assert len({wait_s(f"{place}", 3, 0.1) for place in range(200)}) == 200
