"""Segments outlive whatever ends their writer: cut at every byte, changed at every byte, held or free."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flytewheel.spool import (
    EVENTS,
    HEADER,
    SUFFIX,
    clear_parts,
    create_segment,
    frame,
    join_columns,
    list_segments,
    read_payloads,
    replace_segment,
    split_columns,
    split_frames,
    take_segment,
)

PAYLOADS = [b"first\tline", b"x" * 300, b"\0\xff", b"last"]


def write(folder: Path, payloads: list[bytes] = PAYLOADS) -> Path:
    segment = create_segment(folder, EVENTS, durable=True)
    for payload in payloads:
        segment.append(frame(payload))
    segment.close()
    return segment.path


def take(path: Path) -> list[bytes]:
    segment = take_segment(path)
    assert segment is not None
    found = read_payloads(segment)
    assert os.fstat(segment.fd).st_size == segment.end  # what did not count is gone
    segment.close()
    return found


def test_a_segment_that_ends_at_any_byte_keeps_every_whole_record_before(tmp_path: Path) -> None:
    path = write(tmp_path)
    data = path.read_bytes()
    ends = [len(HEADER)]
    for payload in PAYLOADS:
        ends.append(ends[-1] + 8 + len(payload))
    for length in range(len(data) + 1):
        path.write_bytes(data[:length])
        assert take(path) == PAYLOADS[: sum(end <= length for end in ends) - 1 if length >= len(HEADER) else 0]
        path.write_bytes(data[:length] + b"\0" * 40)  # a file that had grown when the power went
        assert take(path) == PAYLOADS[: sum(end <= length for end in ends) - 1 if length >= len(HEADER) else 0]


def test_a_changed_byte_costs_one_record_and_is_set_aside(tmp_path: Path) -> None:
    path = write(tmp_path)
    data = path.read_bytes()
    start = len(HEADER) + 8 + len(PAYLOADS[0])
    for place in range(start + 8, start + 8 + 300, 50):
        path.write_bytes(data[:place] + b"!" + data[place + 1 :])
        segment = take_segment(path)
        assert segment is not None
        assert read_payloads(segment) == [PAYLOADS[0], *PAYLOADS[2:]]
        segment.close()
    (kept,) = (tmp_path / "damaged").iterdir()
    assert b"!" in kept.read_bytes()


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_no_bytes_make_a_reader_fail(data: st.DataObject) -> None:
    whole = b"".join(frame(payload) for payload in PAYLOADS)
    place = data.draw(st.integers(0, len(whole)))
    found, damaged, end = split_frames(whole[:place] + data.draw(st.binary(max_size=30)) + whole[place:])
    assert end <= len(whole) + 30
    assert len(found) + len(damaged) <= len(PAYLOADS) + 4


def test_at_most_so_many_frames_are_taken() -> None:
    whole = b"".join(frame(payload) for payload in PAYLOADS)
    found, _, end = split_frames(whole, most=2)
    assert found == PAYLOADS[:2]
    assert split_frames(whole, end)[0] == PAYLOADS[2:]


def test_a_segment_is_its_writers_until_that_is_killed(tmp_path: Path) -> None:
    code = (
        "import sys, time; from pathlib import Path; from flytewheel.spool import *\n"
        "s = create_segment(Path(sys.argv[1]), 'events', durable=True); s.append(frame(b'kept'))\n"
        "print(flush=True); time.sleep(60)"
    )
    writer = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE)
    try:
        assert writer.stdout is not None
        writer.stdout.readline()
        (path,) = list_segments(tmp_path, EVENTS)
        assert take_segment(path) is None
        writer.kill()
        writer.wait()
        assert take(path) == [b"kept"]
    finally:
        writer.kill()
        writer.communicate()


def test_a_segment_that_is_replaced_stays_held_and_none_is_left_of_an_empty_one(tmp_path: Path) -> None:
    path = write(tmp_path)
    segment = take_segment(path)
    assert segment is not None
    fresh = replace_segment(segment, [b"kept"])
    assert fresh is not None
    assert take_segment(path) is None
    fresh.append(frame(b"more"))
    assert read_payloads(fresh) == [b"kept", b"more"]
    assert replace_segment(fresh, []) is None
    assert list(tmp_path.iterdir()) == []


def test_a_replacement_that_was_killed_leaves_the_old_segment(tmp_path: Path) -> None:
    path = write(tmp_path)
    left, alive = path.with_suffix(f".{os.getpid()}.part"), path.with_suffix(".1.part")
    left.write_bytes(HEADER + frame(b"ha")[:5])  # the process id is another process's by now: this one's
    alive.write_bytes(b"")
    with alive.open("rb") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        clear_parts(tmp_path)
        assert {each.name for each in tmp_path.iterdir()} == {path.name, alive.name}
    clear_parts(tmp_path)
    assert {each.suffix for each in tmp_path.iterdir()} == {SUFFIX}
    assert take(path) == PAYLOADS


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full here: run it on Linux")
def test_a_full_disk_refuses_and_changes_nothing(tmp_path: Path) -> None:
    segment = create_segment(tmp_path, EVENTS, durable=True)
    real, segment.fd = segment.fd, os.open("/dev/full", os.O_RDWR)
    with pytest.raises(OSError, match="No space left"):
        segment.append(frame(b"lost"))
    segment.close()
    segment.fd = real
    segment.append(frame(b"kept"))
    assert read_payloads(segment) == [b"kept"]
    segment.close()


@given(st.lists(st.binary().filter(lambda value: b"\0" not in value), min_size=1))
def test_columns_come_back_from_their_line(columns: list[bytes]) -> None:
    line = join_columns(columns)
    assert b"\n" not in line
    assert split_columns(line) == columns
