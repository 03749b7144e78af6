"""The machine as this process may use it: cores and memory inside its control groups, free disk under the state.

A container on a large machine sees all cores and all memory; what it may take stands in its control groups (v1 or v2),
at its own level or at any above it.
"""

from __future__ import annotations

import math
import os
import platform
import shutil
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import psutil

from flytewheel.doctor.findings import Finding, doubtful, missing

GIB = 1 << 30
PYTHONS = ((3, 11), (3, 12))
_MIN_DISK_BYTES = 2 * GIB  # the embedded stack, a turn of the smallest base and its logs take about half of that
_MIN_MEMORY_BYTES = 2 * GIB  # all processes of the demo together held 1.5 GB


@dataclass(frozen=True, slots=True)
class Limits:
    """What the control groups allow: `cores` is a quota of CPU time, `room_bytes` what is left below the limit."""

    cores: float | None = None
    memory_bytes: int | None = None
    room_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class Machine:
    """What a turn finds.

    Attributes:
        python: version.
        system: operating system and architecture.
        cores: that this process may use: affinity, and the quota of its control group.
        cores_present: in the machine.
        threads: that a turn's process would start: `OMP_NUM_THREADS`, else one for each core of the affinity.
        memory_bytes: of the machine, or the limit of the control group.
        memory_free_bytes: that can be had now.
        home: `FLYTEWHEEL_HOME`.
        disk_free_bytes: under it, or under the nearest folder above it that exists.
    """

    python: str
    system: str
    cores: float
    cores_present: int
    threads: int
    memory_bytes: int
    memory_free_bytes: int
    home: Path
    disk_free_bytes: int


def read_machine(home: Path, environ: Mapping[str, str] | None = None, *, limits: Limits | None = None) -> Machine:
    """Looks at this machine; `home` need not exist and is not made. `limits` are read from the control groups."""
    environ = os.environ if environ is None else environ
    present = os.cpu_count() or 1
    affinity = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else present
    limits = read_limits() if limits is None else limits
    memory = psutil.virtual_memory()
    asked = environ.get("OMP_NUM_THREADS", "")
    mac = platform.mac_ver()[0]
    return Machine(
        python=platform.python_version(),
        system=f"{f'macOS {mac}' if mac else f'{platform.system()} {platform.release()}'}, {platform.machine()}",
        cores=min(affinity, limits.cores or math.inf),
        cores_present=present,
        threads=int(asked) if asked.isdigit() else affinity,
        memory_bytes=min(memory.total, limits.memory_bytes or memory.total),
        memory_free_bytes=min(memory.available, memory.available if limits.room_bytes is None else limits.room_bytes),
        home=home,
        disk_free_bytes=shutil.disk_usage(nearest_folder(home)).free,
    )


def judge_machine(machine: Machine) -> Iterator[Finding]:
    """What a turn would stumble over."""
    if sys.version_info[:2] not in PYTHONS:
        wanted = " or ".join(".".join(map(str, version)) for version in PYTHONS)
        yield missing(f"Python {wanted} is needed, this is {machine.python}", "make the virtual environment with it")
    if machine.threads > math.ceil(machine.cores):
        yield doubtful(
            f"{machine.threads} threads would share {machine.cores:g} cores, which is slower than fewer",
            f"set OMP_NUM_THREADS={max(1, math.floor(machine.cores))}",
        )
    if machine.memory_free_bytes < _MIN_MEMORY_BYTES:
        yield doubtful(
            f"{in_gib(machine.memory_free_bytes)} of memory are free, the smallest turn takes 1.5 GiB",
            "end something, or raise the container's limit",
        )
    folder = nearest_folder(machine.home)
    if machine.home.exists() and not machine.home.is_dir():
        yield missing(f"{machine.home} is a file", "set FLYTEWHEEL_HOME to a folder")
    elif not os.access(folder, os.W_OK | os.X_OK):
        yield missing(f"{folder} cannot be written", "set FLYTEWHEEL_HOME to a folder of your own")
    if machine.disk_free_bytes < _MIN_DISK_BYTES:
        yield doubtful(
            f"{in_gib(machine.disk_free_bytes)} are free under {machine.home}, the smallest turn wants 2 GiB",
            "make room, or set FLYTEWHEEL_HOME to another disk",
        )


def nearest_folder(path: Path) -> Path:
    """`path`, or the nearest folder above it that exists."""
    path = path.absolute()
    return next((folder for folder in (path, *path.parents) if folder.is_dir()), Path(path.anchor))


def in_gib(count: float) -> str:
    """A number of bytes as text, two digits where it is small."""
    return f"{count / GIB:.1f} GiB" if count >= GIB / 10 else f"{count / (1 << 20):.0f} MiB"


def read_limits(membership: Path = Path("/proc/self/cgroup"), mount: Path = Path("/sys/fs/cgroup")) -> Limits:
    """The tightest limits of this process's control groups, its own and those above; none where there are none.

    Args:
        membership: lines `number:controllers:path`; no controllers is version 2.
        mount: where the groups are mounted.
    """
    try:
        lines = [line.split(":", 2) for line in membership.read_text(encoding="utf-8").splitlines()]
    except OSError:
        return Limits()
    cores: list[float] = []
    memory: list[tuple[int, int]] = []  # limit, room
    for _, controllers, path in (line for line in lines if len(line) == 3):
        named = set(controllers.split(","))
        if not controllers:
            for folder in _upwards(mount, path):
                cores += _quota(_words(folder / "cpu.max"))
                memory += _room(folder, "memory.max", "memory.current", "inactive_file")
        if "cpu" in named:
            for folder in _upwards(mount / "cpu", path):
                cores += _quota(_words(folder / "cpu.cfs_quota_us") + _words(folder / "cpu.cfs_period_us"))
        if "memory" in named:
            for folder in _upwards(mount / "memory", path):
                memory += _room(folder, "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
    return Limits(
        cores=min(cores, default=None),
        memory_bytes=min((limit for limit, _ in memory), default=None),
        room_bytes=min((room for _, room in memory), default=None),
    )


def _upwards(mount: Path, path: str) -> Iterator[Path]:
    # Inside a container the path may be the host's, which is not mounted: then its upper levels are looked at.
    folder = mount / path.lstrip("/")
    while folder != mount and mount in folder.parents:
        yield folder
        folder = folder.parent
    yield mount


def _quota(words: list[str]) -> list[float]:
    if len(words) == 2 and all(word.isdigit() for word in words) and int(words[1]):
        return [int(words[0]) / int(words[1])]
    return []  # "max", or -1


def _room(folder: Path, limit: str, usage: str, cached: str) -> list[tuple[int, int]]:
    allowed, used = _words(folder / limit), _words(folder / usage)
    if not allowed or not used or not allowed[0].isdigit() or not used[0].isdigit():
        return []
    stat = _words(folder / "memory.stat")
    counts = dict(zip(stat[::2], stat[1::2], strict=False))
    # Pages of files that nobody has touched for a while are given back when memory gets short.
    held = max(0, int(used[0]) - int(counts.get(cached, "0")))
    return [(int(allowed[0]), max(0, int(allowed[0]) - held))]


def _words(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8").split()
    except OSError:
        return []
