"""Cores, memory and disk as a process may use them; control groups are trees of files laid out as the kernel does."""

from __future__ import annotations

import os
import re
from dataclasses import replace
from pathlib import Path

import pytest

from flytewheel.doctor.machine import GIB, Limits, Machine, in_gib, judge_machine, read_limits, read_machine

ROOMY = Machine("3.11.9", "Linux", 4, 4, 4, 16 * GIB, 8 * GIB, Path("/"), 100 * GIB)


def _tree(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def _member(root: Path, *lines: str) -> Path:
    path = root / "membership"
    path.write_text("\n".join(lines) + "\n")
    return path


def test_version_2_takes_the_tightest_level(tmp_path: Path) -> None:
    """1.5 of a core at its own level, 3 above; 2 GiB above it, of which 1 GiB is held and a quarter of that idle."""
    files = {
        "mount/pod/cpu.max": "300000 100000\n",
        "mount/pod/memory.max": f"{2 * GIB}\n",
        "mount/pod/memory.current": f"{GIB}\n",
        "mount/pod/memory.stat": f"anon 5\ninactive_file {GIB // 4}\n",
        "mount/pod/box/cpu.max": "150000 100000\n",
        "mount/pod/box/memory.max": "max\n",
        "mount/pod/box/memory.current": "5\n",
    }
    _tree(tmp_path, files)
    limits = read_limits(_member(tmp_path, "0::/pod/box"), tmp_path / "mount")
    assert limits == Limits(1.5, 2 * GIB, 2 * GIB - 3 * GIB // 4)


def test_version_1_is_read_too(tmp_path: Path) -> None:
    files = {
        "mount/cpu/box/cpu.cfs_quota_us": "200000\n",
        "mount/cpu/box/cpu.cfs_period_us": "100000\n",
        "mount/cpu/cpu.cfs_quota_us": "-1\n",
        "mount/cpu/cpu.cfs_period_us": "100000\n",
        "mount/memory/box/memory.limit_in_bytes": f"{GIB}\n",
        "mount/memory/box/memory.usage_in_bytes": f"{GIB + 5}\n",
        "mount/memory/box/memory.stat": "inactive_file 7\ntotal_inactive_file 0\n",
    }
    _tree(tmp_path, files)
    limits = read_limits(_member(tmp_path, "4:memory:/box", "2:cpu,cpuacct:/box", "0::/"), tmp_path / "mount")
    assert limits == Limits(2.0, GIB, 0)


def test_a_container_that_does_not_see_its_own_level_looks_at_the_mount(tmp_path: Path) -> None:
    _tree(tmp_path, {"mount/cpu.max": "50000 100000\n"})
    assert read_limits(_member(tmp_path, "0::/../of/the/host"), tmp_path / "mount") == Limits(0.5)


def test_no_control_groups_are_no_limits(tmp_path: Path) -> None:
    assert read_limits(tmp_path / "none", tmp_path) == Limits()
    _tree(tmp_path, {"mount/cpu.max": "max 100000\n"})
    assert read_limits(_member(tmp_path, "0::/", "rubbish"), tmp_path / "mount") == Limits()


def test_this_machine_is_read_and_nothing_is_made(tmp_path: Path) -> None:
    machine = read_machine(tmp_path / "a" / "b", {"OMP_NUM_THREADS": "3"})
    assert 0 < machine.cores <= machine.cores_present == os.cpu_count()
    assert 0 < machine.memory_free_bytes <= machine.memory_bytes
    assert machine.disk_free_bytes > 0
    assert machine.threads == 3
    assert list(tmp_path.iterdir()) == []
    if hasattr(os, "sched_getaffinity"):
        assert read_machine(tmp_path, {}).threads == len(os.sched_getaffinity(0))


def test_a_container_has_what_its_limits_leave(tmp_path: Path) -> None:
    machine = read_machine(tmp_path, {}, limits=Limits(0.5, GIB // 2, 77))
    assert (machine.cores, machine.memory_bytes, machine.memory_free_bytes) == (0.5, GIB // 2, 77)
    unlimited = read_machine(tmp_path, {}, limits=Limits(None, 1 << 62, 1 << 62))  # version 1 has no word for none
    assert GIB // 2 < unlimited.memory_free_bytes <= unlimited.memory_bytes < 1 << 62
    assert unlimited.cores >= 1


def test_a_roomy_machine_raises_no_doubt(tmp_path: Path) -> None:
    assert list(judge_machine(replace(ROOMY, home=tmp_path / "not yet"))) == []


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"cores": 1.5, "threads": 64}, "doubtful: 64 threads would share 1.5 cores.*; set OMP_NUM_THREADS=1"),
        ({"memory_free_bytes": GIB}, "doubtful: 1.0 GiB of memory are free, .*raise the container's limit"),
        ({"disk_free_bytes": GIB}, "doubtful: 1.0 GiB are free under .*another disk"),
    ],
)
def test_each_shortage_is_one_line(change: dict[str, float], said: str, tmp_path: Path) -> None:
    (finding,) = judge_machine(replace(ROOMY, home=tmp_path, **change))
    assert re.search(said, str(finding))


def test_a_home_that_cannot_be_one_is_missing(tmp_path: Path) -> None:
    taken = tmp_path / "taken"
    taken.write_text("mine")
    (finding,) = judge_machine(replace(ROOMY, home=taken))
    assert str(finding) == f"missing: {taken} is a file; set FLYTEWHEEL_HOME to a folder"


def test_bytes_are_said_in_a_fitting_unit() -> None:
    assert [in_gib(count) for count in (6_824_440, GIB // 2, 80 * GIB)] == ["7 MiB", "0.5 GiB", "80.0 GiB"]
