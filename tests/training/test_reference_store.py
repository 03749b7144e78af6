from __future__ import annotations

import hashlib
import logging
import multiprocessing
import os
import shutil
from pathlib import Path

import pytest

from flytewheel.training.reference_store import ReferenceStore

KEY = {"base": "b", "start": None}


def _name(number: int) -> bytes:
    return hashlib.sha256(str(number).encode()).digest()


def _values(numbers: range) -> dict[bytes, tuple[float, int]]:
    return {_name(number): (-number / 3, number + 1) for number in numbers}


def _segments(root: Path) -> list[Path]:
    return sorted(root.glob("*/*.npy"))


def test_what_is_written_is_read_back_to_the_bit(tmp_path: Path) -> None:
    store = ReferenceStore(tmp_path, KEY)
    assert store.read([_name(1)]) == ({}, 0)
    store.write(_values(range(5)))
    store.write(_values(range(5, 9)))
    found, discarded = ReferenceStore(tmp_path, KEY).read([_name(number) for number in (0, 3, 8, 9)])
    assert found == {_name(number): -number / 3 for number in (0, 3, 8)}
    assert discarded == 0
    assert len(_segments(tmp_path)) == 2
    store.write({})
    assert len(_segments(tmp_path)) == 2


def test_another_key_knows_nothing_of_it(tmp_path: Path) -> None:
    ReferenceStore(tmp_path, KEY).write(_values(range(5)))
    assert ReferenceStore(tmp_path, {**KEY, "start": "a"}).read(list(_values(range(5)))) == ({}, 0)


def test_without_a_folder_nothing_is_kept() -> None:
    store = ReferenceStore(None, KEY)
    store.write(_values(range(5)))
    assert store.read(list(_values(range(5)))) == ({}, 0)


@pytest.mark.parametrize("damage", ["torn", "one bit", "empty", "more"])
def test_a_broken_segment_is_thrown_away(damage: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    store = ReferenceStore(tmp_path, KEY)
    store.write(_values(range(5)))
    store.write(_values(range(5, 9)))
    broken = _segments(tmp_path)[0]
    content = broken.read_bytes()
    changed = {
        "torn": content[:-20],
        "one bit": content[:-3] + bytes([content[-3] ^ 1]) + content[-2:],
        "empty": b"",
        "more": content + b"\0",
    }
    broken.write_bytes(changed[damage])
    with caplog.at_level(logging.WARNING):
        found, discarded = store.read(list(_values(range(9))))
    assert len(found) in (4, 5)
    assert discarded == 1
    assert f"{broken}: is not what was written; thrown away" in caplog.text
    assert not broken.exists()
    assert store.read(list(_values(range(9)))) == (found, 0)


def test_a_segment_under_another_key_is_not_trusted(tmp_path: Path) -> None:
    ours, theirs = ReferenceStore(tmp_path, KEY), ReferenceStore(tmp_path, {**KEY, "start": "a"})
    ours.write(_values(range(5)))
    (segment,) = _segments(tmp_path)
    theirs.write(_values(range(5, 6)))
    (other,) = {path.parent for path in _segments(tmp_path)} - {segment.parent}
    shutil.copy(segment, other / segment.name)
    assert theirs.read(list(_values(range(5)))) == ({}, 1)


def test_the_segments_unused_for_longest_make_room(tmp_path: Path) -> None:
    """A segment of one answer is 128 bytes of header and 44 of content, here or there: three are given room for two."""
    store = ReferenceStore(tmp_path, KEY)
    for number in range(3):
        store.write(_values(range(number, number + 1)))
        newest = max(_segments(tmp_path), key=lambda path: path.stat().st_mtime_ns)
        os.utime(newest, (1000 + number, 1000 + number))
    size = sum(path.stat().st_size for path in _segments(tmp_path)) // 3
    assert len(store.read([_name(0)])[0]) == 1  # the oldest is used, so that the second one is the longest unused
    torn = _segments(tmp_path)[0].with_name(".x.partial")
    for path, age in ((torn, 1000), (torn.with_name(".y.partial"), None)):
        path.write_bytes(b"half")
        if age:
            os.utime(path, (age, age))
    limited = ReferenceStore(tmp_path, {**KEY, "base": "c"}, limit_bytes=3 * size)
    limited.write(_values(range(3, 4)))
    assert set(store.read([_name(number) for number in range(3)])[0]) == {_name(0), _name(2)}
    assert not torn.exists()
    assert torn.with_name(".y.partial").exists()  # another process may be writing it
    tight = ReferenceStore(tmp_path, {**KEY, "base": "d"}, limit_bytes=1)
    tight.write(_values(range(4, 5)))
    assert len(tight.read([_name(4)])[0]) == 1
    assert len(_segments(tmp_path)) == 1


def _work(root: str, first: int) -> None:
    store = ReferenceStore(Path(root), KEY)
    for at in range(40):
        store.write(_values(range(first + at, first + at + 20)))
        _, discarded = store.read(list(_values(range(200))))
        assert discarded == 0


def test_two_processes_work_at_once(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=_work, args=(str(tmp_path), first)) for first in (0, 30)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(120)
    assert [worker.exitcode for worker in workers] == [0, 0]
    found, discarded = ReferenceStore(tmp_path, KEY).read(list(_values(range(89))))
    assert found == {_name(number): -number / 3 for number in range(89)}
    assert discarded == 0
    assert not list(tmp_path.glob("*/.*"))
