"""A containerd of our own: its data under our home, its socket under /run, gone with us.

It never meets one that the machine may have: socket, data and image store are its own. It is recorded before it is
used, so that the next run stops one that a killed run left, with its pods and mounts.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from hashlib import sha256
from pathlib import Path

from filelock import FileLock, Timeout

from deploy.containers import ContainersError, tools
from deploy.containers.cri import GROUP, Runtime
from flytewheel.local.processes import ProcessId, Program, is_alive, log_tail, spawn, stop, wait_until

NAMESPACE = "k8s.io"  # the one that the interface looks into
START_S = 60.0
_RECORD = "containerd.json"
_CONFIG = """version = 2
root = "{root}"
state = "{state}"
[grpc]
  address = "{socket}"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{sandbox}"
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "{snapshotter}"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
  [plugins."io.containerd.grpc.v1.cri".cni]
    conf_dir = "{root}/no-networks"
"""


@contextlib.contextmanager
def run_containerd(home: Path, programs: Mapping[str, Path], sandbox: str) -> Iterator[Runtime]:
    """Runs containerd for the length of the block; its pods, mounts and process are gone afterwards, whatever happens.

    Args:
        home: data, record and log are under it.
        programs: from `tools.find_tools`.
        sandbox: image that pods stand on; it may be imported later.

    Raises:
        ContainersError: it did not start, or another run uses this home.
    """
    home.mkdir(parents=True, exist_ok=True)
    state = Path("/run") / f"flytewheel-{sha256(str(home).encode()).hexdigest()[:12]}"
    lock = FileLock(home / "containers.lock", timeout=0)
    try:
        lock.acquire()
    except Timeout:
        raise ContainersError(f"another run uses {home}; wait for its end") from None
    try:
        socket = state / "containerd.sock"
        _clear_left(home, state, socket)
        state.mkdir(mode=0o700, exist_ok=True)  # kept where there is one: containerd finds its pods in it again
        config = home / "containerd.toml"
        snapshotter = _choose_snapshotter()
        config.write_text(
            _CONFIG.format(
                root=home / "containerd", state=state / "state", socket=socket, sandbox=sandbox, snapshotter=snapshotter
            ),
            encoding="utf-8",
        )
        process = _start(home, programs, config)
        try:
            with Runtime(socket) as runtime:
                if not wait_until(
                    lambda: _answers(runtime) or not is_alive(process), deadline_s=START_S
                ) or not is_alive(process):
                    raise ContainersError(f"containerd did not start: {log_tail(home / 'containerd.log')}")
                runtime.clear()
                try:
                    yield runtime
                finally:
                    with contextlib.suppress(ContainersError):  # the process may be what failed
                        runtime.clear()
        finally:
            stop_left(home, state)
            shutil.rmtree(state, ignore_errors=True)
    finally:
        lock.release()


def _clear_left(home: Path, state: Path, socket: Path) -> None:
    """Has a containerd that a killed run left remove its pods, and stops it: without it they would run on."""
    record = home / _RECORD
    if record.exists() and is_alive(ProcessId(**json.loads(record.read_text(encoding="utf-8")))):
        with contextlib.suppress(ContainersError), Runtime(socket) as runtime:
            runtime.clear()
        stop_left(home, state)


def stop_left(home: Path, state: Path) -> None:
    """Stops the containerd that is recorded, unmounts what is left below its folders, and removes its groups."""
    record = home / _RECORD
    if record.exists():
        stop(ProcessId(**json.loads(record.read_text(encoding="utf-8"))), name="containerd", grace_s=20)
        record.unlink()
    ours = (f"{state}/", f"{home / 'containerd'}/")
    mounts = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text(encoding="utf-8").splitlines()]
    for mount in sorted((place for place in mounts if place.startswith(ours)), reverse=True):
        subprocess.run(["umount", "-l", mount], check=False, capture_output=True, timeout=60)
    for group in Path("/sys/fs/cgroup").glob(f"*/{GROUP}"):
        _remove_group(group)


def import_image(programs: Mapping[str, Path], runtime_home: Path, archive: Path) -> None:
    """Takes an OCI archive into containerd's store.

    Raises:
        ContainersError: containerd did not take it.
    """
    config = (runtime_home / "containerd.toml").read_text(encoding="utf-8")
    socket = config.split('address = "', 1)[1].split('"', 1)[0]
    snapshotter = config.split('snapshotter = "', 1)[1].split('"', 1)[0]
    command = [str(programs["ctr"]), "--address", socket, "--namespace", NAMESPACE]
    command += ["images", "import", "--snapshotter", snapshotter, str(archive)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=1800, check=False)
    if done.returncode:
        raise ContainersError(f"containerd did not take {archive}: {done.stderr.strip()}")


def _start(home: Path, programs: Mapping[str, Path], config: Path) -> ProcessId:
    environ = {**os.environ, "PATH": tools.spell_path(programs)}
    program = Program(
        name="containerd",
        command=lambda _: [programs["containerd"], "--config", config],
        ready=lambda _: True,
        environ=environ,
        log=home / "containerd.log",
    )
    process = spawn(program, 0)
    (home / _RECORD).write_text(json.dumps(asdict(process)), encoding="utf-8")
    return process


def _answers(runtime: Runtime) -> bool:
    try:
        return bool(runtime.describe())
    except ContainersError:
        return False


def _choose_snapshotter() -> str:
    return "overlayfs" if "overlay" in Path("/proc/filesystems").read_text(encoding="utf-8") else "native"


def _remove_group(group: Path) -> None:
    for inner in sorted((path for path in group.rglob("*") if path.is_dir()), reverse=True):
        with contextlib.suppress(OSError):  # somebody is in it still
            inner.rmdir()
    with contextlib.suppress(OSError):
        group.rmdir()
