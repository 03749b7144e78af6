"""Detached children: identity, readiness, and an end that reaches all of a session and nobody else."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from flytewheel.errors import StackError
from flytewheel.local import processes
from flytewheel.local.processes import LOOPBACK, ProcessId, Program

SERVE = "import http.server, sys; http.server.test(port=int(sys.argv[1]), bind='127.0.0.1')"
IGNORE_TERM = (
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True); time.sleep(99)"
)
LEAVE_A_CHILD = (
    "import subprocess, sys, time;"
    "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(99)']);"
    "print('child', child.pid, flush=True); time.sleep(99)"
)


@pytest.fixture
def spawn(tmp_path: Path) -> Iterator[Callable[[str], ProcessId]]:
    """Starts `python -c CODE` detached, with its output in `tmp_path/log`; whatever is left at the end is killed."""
    started: list[ProcessId] = []

    def start(code: str) -> ProcessId:
        program = python(code, log=tmp_path / "log")
        started.append(processes.spawn(program, 0))
        return started[-1]

    yield start
    for process in started:
        processes.stop(process, name="a test's child", end=signal.SIGKILL)


def python(code: str, *, log: Path, ready: Callable[[int], bool] = lambda port: True) -> Program:
    return Program(
        name="the child",
        command=lambda port: [sys.executable, "-c", code, str(port)],
        ready=ready,
        environ={"PATH": os.environ["PATH"]},
        log=log,
    )


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex((LOOPBACK, port)) == 0


def wait_for_text(log: Path, text: str) -> str:
    assert processes.wait_until(lambda: text in processes.log_tail(log), deadline_s=10)
    return processes.log_tail(log)


def test_a_child_is_alive_until_it_is_stopped(spawn: Callable[[str], ProcessId]) -> None:
    child = spawn("import time; time.sleep(99)")
    assert processes.is_alive(child)
    assert os.getsid(child.pid) == child.pid
    processes.stop(child, name="the child")
    assert not processes.is_alive(child)
    processes.stop(child, name="the child")  # again: fine


def test_a_pid_of_somebody_else_is_neither_ours_nor_killed(spawn: Callable[[str], ProcessId]) -> None:
    child = spawn("import time; time.sleep(99)")
    recycled = ProcessId(child.pid, "an earlier process")
    assert not processes.is_alive(recycled)
    processes.stop(recycled, name="the earlier one")
    assert processes.is_alive(child)


def test_a_zombie_is_dead() -> None:
    with subprocess.Popen([sys.executable, "-c", "pass"]) as child:
        identity = processes.identify(child.pid)
        assert processes.wait_until(lambda: psutil.Process(child.pid).status() == "zombie", deadline_s=10)
        assert not processes.is_alive(identity)


def test_one_that_ignores_sigterm_is_killed(spawn: Callable[[str], ProcessId], tmp_path: Path) -> None:
    child = spawn(IGNORE_TERM)
    wait_for_text(tmp_path / "log", "deaf")
    processes.stop(child, name="the child", grace_s=0.1)
    assert not processes.is_alive(child)


@pytest.mark.parametrize("first", [signal.SIGTERM, signal.SIGKILL])
def test_stop_reaches_the_children_of_a_dead_leader(
    spawn: Callable[[str], ProcessId], tmp_path: Path, first: signal.Signals
) -> None:
    leader = spawn(LEAVE_A_CHILD)
    orphan = processes.identify(int(wait_for_text(tmp_path / "log", "child").split()[-1]))
    os.kill(leader.pid, first)
    assert processes.wait_until(lambda: not processes.is_alive(leader), deadline_s=10)
    assert processes.is_alive(orphan)
    processes.stop(leader, name="the leader")
    assert not processes.is_alive(orphan)


def test_start_waits_for_the_condition_and_tells_the_process_first(tmp_path: Path) -> None:
    told: list[tuple[ProcessId, int]] = []
    process, port = processes.start_on_port(
        python(SERVE, log=tmp_path / "log", ready=listens),
        port=None,
        deadline_s=20,
        spawned=lambda process, port: told.append((process, port)),
    )
    assert listens(port)
    assert told == [(process, port)]
    processes.stop(process, name="the child")
    assert not listens(port)


def test_a_port_lost_between_choice_and_bind_is_replaced(tmp_path: Path) -> None:
    with socket.socket() as thief:
        asked: list[int] = []

        def command(port: int) -> list[str]:
            if not asked:
                thief.bind((LOOPBACK, port))
                thief.listen()
            asked.append(port)
            return [sys.executable, "-c", SERVE, str(port)]

        program = Program("the child", command, lambda port: len(asked) > 1 and listens(port), {}, tmp_path / "log")
        process, port = processes.start_on_port(program, port=None, deadline_s=20)
    processes.stop(process, name="the child")
    assert asked[-1] == port != asked[0]


def test_a_child_that_dies_is_reported_with_its_last_words(tmp_path: Path) -> None:
    code = "import sys; print('warming up', file=sys.stderr); sys.exit('no such model')"
    with pytest.raises(
        StackError, match=r"the child ended while it started; .*log ends with: warming up \| no such model"
    ):
        processes.start_on_port(python(code, log=tmp_path / "log", ready=lambda port: False), port=None, deadline_s=20)


def test_a_child_that_is_late_is_stopped(tmp_path: Path) -> None:
    told: list[ProcessId] = []
    program = python("import time; time.sleep(99)", log=tmp_path / "log", ready=lambda port: False)
    with pytest.raises(StackError, match="is not ready after 0 s"):
        processes.start_on_port(program, port=None, deadline_s=0.2, spawned=lambda process, port: told.append(process))
    assert not any(map(processes.is_alive, told))


def test_a_missing_program_is_one_line(tmp_path: Path) -> None:
    program = Program("the child", lambda port: ["/nowhere/server"], lambda port: True, {}, tmp_path / "log")
    with pytest.raises(StackError, match="cannot start /nowhere/server: No such file or directory"):
        processes.spawn(program, 0)


def test_the_preferred_port_is_taken_when_free() -> None:
    with socket.socket() as holder:
        holder.bind((LOOPBACK, 0))
        holder.listen()
        taken = holder.getsockname()[1]
        assert processes.free_port(taken) != taken
    assert processes.free_port(taken) == taken


def test_a_long_log_is_set_aside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "_LOG_BYTES", 10)
    log = tmp_path / "log"
    log.write_text("of an earlier start\n")
    process, _ = processes.start_on_port(python("import time; time.sleep(99)", log=log), port=None, deadline_s=5)
    processes.stop(process, name="the child")
    assert (tmp_path / "log.1").read_text() == "of an earlier start\n"
    assert log.read_text() == ""
