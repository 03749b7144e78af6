"""Real containers: needs root, Debian's containerd and runc, and the layer of Debian that `make containers` builds."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from deploy.containers import ContainersError, daemon
from deploy.containers.cri import Pod, Runtime
from deploy.containers.layers import pack_image, read_layer
from deploy.containers.tools import find_tools
from flytewheel.local.processes import wait_until
from tests.processes import runs

HOME = Path(__file__).resolve().parents[2] / ".flytewheel" / "containers"
IMAGE = "localhost/flytewheel/test:1"
ENVIRON = {**os.environ, "PYTHONPATH": str(HOME.parents[1])}


def find_base() -> Path:
    """The layer of Debian; skips the test, with how to get it, where it or something else is missing."""
    if os.name != "posix" or not hasattr(os, "geteuid") or os.geteuid() != 0:
        pytest.skip("containers need root: run the tests by sudo or as root")
    if not Path("/proc/self/ns/mnt").exists():
        pytest.skip("containers need Linux (Debian 12): run the tests there")
    found = sorted((HOME / "layers").glob("debian-*.tar"))
    if not found:
        pytest.skip("no image is built here: run `make containers` once")
    return found[-1]


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Runtime, Path]]:
    layer = find_base()
    try:
        programs = find_tools(HOME / "tools", fetch=False)
    except ContainersError as error:
        pytest.skip(str(error))
    home = tmp_path_factory.mktemp("containers")
    archive = home / "image.tar"
    config = {"Entrypoint": ["sleep", "infinity"], "Env": ["PATH=/usr/bin:/bin"], "User": "1000"}
    pack_image(archive, IMAGE, [read_layer(layer)], config, lambda *given: None)
    with daemon.run_containerd(home, programs, IMAGE) as runtime:
        daemon.import_image(programs, home, archive)
        yield runtime, home
    assert not [line for line in Path("/proc/self/mountinfo").read_text().splitlines() if str(home) in line]
    assert not (home / "containerd.json").exists()


def pod(name: str, script: str, *, memory_bytes: int = 256 << 20, **environ: str) -> Pod:
    return Pod(name, IMAGE, ["python3", "-c", script], environ, memory_bytes)


def test_a_container_is_not_root_and_cannot_write_and_has_no_capability(machine: tuple[Runtime, Path]) -> None:
    runtime, home = machine
    script = (
        "import os; print(os.getuid(), os.environ['KEY'].count(chr(10)))\n"
        "try: open('/x', 'w')\nexcept OSError as error: print(error.strerror)\n"
        "print([line.split()[1] for line in open('/proc/self/status') if line[:6] in ('CapEff', 'Seccom', 'NoNewP')])\n"
        "raise SystemExit(3)"
    )
    ended = runtime.run(pod("locked", script, KEY="two\nlines"), home, deadline_s=60)
    assert (ended.exit_code, ended.reason) == (3, "Error")
    assert ended.log.splitlines()[:2] == ["1000 1", "Read-only file system"]
    assert ended.log.splitlines()[2].startswith("['0000000000000000', '1', '2'")
    assert ended.seconds > 0


def test_too_much_memory_is_killed_and_said_to_be_that(machine: tuple[Runtime, Path]) -> None:
    runtime, home = machine
    script = "kept = []\nwhile True: kept.append(bytearray(1 << 20))"
    ended = runtime.run(pod("hungry", script, memory_bytes=64 << 20), home, deadline_s=60)
    assert (ended.exit_code, ended.reason) == (137, "OOMKilled")
    enough = runtime.run(pod("modest", "kept = bytearray(32 << 20); import time; time.sleep(0.3)"), home, deadline_s=60)
    assert (enough.exit_code, enough.reason) == (0, "Completed")
    assert 32 << 20 < enough.peak_bytes <= 256 << 20


def test_a_kill_is_told_from_a_lack_of_memory(machine: tuple[Runtime, Path]) -> None:
    runtime, home = machine
    ended = runtime.run(
        pod("killed", "import time; time.sleep(60)"), home, deadline_s=50, meanwhile=lambda container: True
    )
    assert (ended.exit_code, ended.reason) == (137, "Error")


def test_a_container_that_outlives_its_deadline_is_stopped_and_removed(machine: tuple[Runtime, Path]) -> None:
    runtime, home = machine
    with pytest.raises(ContainersError, match="slow still ran after its 1 s"):
        runtime.run(pod("slow", "import time; time.sleep(600)"), home, deadline_s=1)
    assert runtime.clear() == 0


def test_a_second_run_on_the_same_home_is_refused(machine: tuple[Runtime, Path]) -> None:
    with (
        pytest.raises(ContainersError, match="another run uses"),
        daemon.run_containerd(machine[1], {}, IMAGE),
    ):
        pass


LEFT = """
import sys
from pathlib import Path
from deploy.containers import daemon
from deploy.containers.cri import Pod
from deploy.containers.tools import find_tools
home, tools, archive, image = Path(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3]), sys.argv[4]
programs = find_tools(tools, fetch=False)
with daemon.run_containerd(home, programs, image) as runtime:
    daemon.import_image(programs, home, archive)
    said = lambda container: print("runs", flush=True)
    runtime.run(Pod("left", image, ["sleep", "4321"], {}), home, deadline_s=600, meanwhile=said)
"""


def test_what_a_killed_run_left_is_gone_after_the_next(machine: tuple[Runtime, Path], tmp_path: Path) -> None:
    command = [sys.executable, "-c", LEFT, tmp_path, HOME / "tools", machine[1] / "image.tar", IMAGE]
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=HOME.parents[1], env=ENVIRON) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == b"runs\n"
        child.kill()
    assert count_sleepers() == 1
    with daemon.run_containerd(tmp_path, find_tools(HOME / "tools", fetch=False), IMAGE) as runtime:
        assert runtime.clear() == 0
        assert wait_until(lambda: count_sleepers() == 0, deadline_s=20)
    assert str(tmp_path) not in Path("/proc/self/mountinfo").read_text()


def count_sleepers() -> int:
    return sum(runs(pid, "sleep 4321") for pid in psutil.pids())
