"""Children that outlive the process which started them, and how they are recognised again.

Decides when a service counts as started (its own condition holds, within a deadline) and as stopped (its whole session
is gone). Departs from a plain pid file: a process is its pid *and* its start time, so that a pid which the system has
given to somebody else is neither taken for ours nor killed.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from flytewheel.errors import StackError

LOOPBACK = "127.0.0.1"
ATTEMPTS = 4
_POLL_S = 0.02
_LOG_BYTES = 16 << 20
_PORT_TAKEN = "ddress already in use"
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


@dataclass(frozen=True)
class ProcessId:
    """A process for good: `started` differs for a later process with the same pid, and on another boot."""

    pid: int
    started: str


@dataclass(frozen=True)
class Program:
    """How to start a service on a port, and how it says that it is ready.

    Attributes:
        name: for messages.
        command: the program and its arguments, given the port.
        ready: whether the service on that port does its work.
        environ: the whole environment of the child; nothing is inherited.
        log: its output is appended to it.
        user: run as this user id (needs root), with no supplementary groups.
        group: run with this group id.
        cwd: a folder that `user` can enter, or the child fails in surprising ways.
        end: the polite signal (PostgreSQL wants SIGINT: its SIGTERM waits for every client to leave).
    """

    name: str
    command: Callable[[int], Sequence[str | Path]]
    ready: Callable[[int], bool]
    environ: Mapping[str, str]
    log: Path
    user: int | None = None
    group: int | None = None
    cwd: Path = Path("/")
    end: signal.Signals = signal.SIGTERM


class _Detached(subprocess.Popen[bytes]):
    """Meant to outlive its parent, so it does not warn about being still alive when the parent forgets it."""

    def __del__(self, *_: Any) -> None:
        pass


# Children of this very process are kept, because only their parent can reap them: a dead child that nobody waited for
# stays in the process table as a zombie.
_children: dict[int, _Detached] = {}


def start_on_port(
    program: Program,
    *,
    port: int | None,
    deadline_s: float,
    spawned: Callable[[ProcessId, int], None] = lambda process, port: None,
    retry_on: Sequence[str] = (),
) -> tuple[ProcessId, int]:
    """Starts a service on a free port of loopback and waits until it is ready; one that failed is stopped again.

    Args:
        program: what to start.
        port: the port of the last start, taken again when it is free.
        deadline_s: how long one start may take.
        spawned: told the process and its port at once, so that a record of it survives a kill of this process.
        retry_on: texts in the log that make another try worth while; a taken port always does.

    Returns:
        The process and its port.

    Raises:
        StackError: the program cannot be started, died, or was not ready in time; the message quotes its log.
    """
    _rotate(program.log)
    for attempt in range(ATTEMPTS):
        port = free_port(port)
        since = program.log.stat().st_size if program.log.exists() else 0
        process = spawn(program, port)
        try:
            spawned(process, port)
            end_or_ready = wait_until(
                lambda process=process, port=port: not is_alive(process) or program.ready(port),  # type: ignore[misc]
                deadline_s=deadline_s,
            )
            if end_or_ready and is_alive(process):
                return process, port
            state = "ended while it started" if end_or_ready else f"is not ready after {deadline_s:.0f} s"
        except BaseException:
            stop(process, name=program.name, end=program.end)
            raise
        stop(process, name=program.name, end=program.end)
        said = log_tail(program.log, lines=20, since=since)
        taken = _PORT_TAKEN in said
        if attempt + 1 == ATTEMPTS or not (taken or any(text in said for text in retry_on)):
            break
        port = None if taken else port
    tail = log_tail(program.log, since=since) or "(nothing)"
    raise StackError(f"{program.name} {state}; {program.log} ends with: {tail}")


def spawn(program: Program, port: int) -> ProcessId:
    """Starts `program` in a session of its own and does not wait for anything.

    Raises:
        StackError: the program cannot be started.
    """
    program.log.parent.mkdir(parents=True, exist_ok=True)
    command = [str(part) for part in program.command(port)]
    descriptor = os.open(program.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        child = _Detached(
            command,
            stdin=subprocess.DEVNULL,
            stdout=descriptor,
            stderr=descriptor,
            env=dict(program.environ),
            cwd=program.cwd,
            start_new_session=True,
            user=program.user,
            group=program.group,
            extra_groups=None if program.user is None else [],
        )
    except OSError as error:
        reason = error.strerror or str(error)
        raise StackError(f"cannot start {command[0]}: {reason}; see that it exists and may be run") from error
    finally:
        os.close(descriptor)
    _children[child.pid] = child
    return identify(child.pid) or ProcessId(child.pid, "gone")


def identify(pid: int) -> ProcessId | None:
    """The process that has this pid now; `None` when there is none, or only a zombie."""
    try:
        process = psutil.Process(pid)
        # While its threads are still ending, a leader that has ended is a zombie that holds on to its ports.
        if process.status() != psutil.STATUS_ZOMBIE or process.num_threads() > 1:
            return ProcessId(pid, _start_time(process))
    except (psutil.NoSuchProcess, FileNotFoundError, ProcessLookupError):
        pass
    child = _children.get(pid)
    if child is not None and child.poll() is not None:
        del _children[pid]
    return None


def _start_time(process: Any) -> str:
    # psutil derives the wall-clock start from the boot time, which moves when the clock is set; the kernel's own
    # counter since boot does not.
    if _BOOT_ID.exists():
        stat = Path(f"/proc/{process.pid}/stat").read_text(encoding="utf-8", errors="replace")
        return f"{_BOOT_ID.read_text().strip()}/{stat.rpartition(')')[2].split()[19]}"
    return f"{process.create_time():.2f}"


def working_folder(process: ProcessId) -> Path | None:
    """The folder that it works in; `None` when it is gone or belongs to somebody else."""
    try:
        return Path(psutil.Process(process.pid).cwd()) if is_alive(process) else None
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        return None


def is_alive(process: ProcessId | None) -> bool:
    """Whether exactly this process still runs."""
    return process is not None and identify(process.pid) == process


def wait_until(ready: Callable[[], bool], *, deadline_s: float) -> bool:
    """Asks `ready` until it says yes or the deadline is over; returns its last answer."""
    end = time.monotonic() + deadline_s
    while not ready():
        if time.monotonic() >= end:
            return ready()
        time.sleep(_POLL_S)
    return True


def log_tail(log: Path, *, lines: int = 3, since: int = 0) -> str:
    """The last lines of a log, from the byte offset `since`, as one line."""
    if not log.exists():
        return ""
    with log.open("rb") as stream:
        size = stream.seek(0, os.SEEK_END)
        stream.seek(max(since, size - 4096))
        text = stream.read().decode("utf-8", errors="replace")
    kept = [line.strip() for line in text.splitlines() if line.strip()]
    return " | ".join(kept[-lines:])


def _rotate(log: Path) -> None:
    if log.exists() and log.stat().st_size > _LOG_BYTES:
        log.replace(log.with_name(log.name + ".1"))


def stop(
    process: ProcessId, *, name: str, end: signal.Signals = signal.SIGTERM, grace_s: float = 10, kill_s: float = 5
) -> None:
    """Ends a process and what is left of its session; one that is gone already is fine.

    Args:
        process: what `spawn` returned.
        name: for the message.
        end: the polite signal.
        grace_s: time between the polite signal and SIGKILL.
        kill_s: time that SIGKILL gets.

    Raises:
        StackError: something survived SIGKILL.
    """
    if is_alive(process):
        _send(process, end)
        if not wait_until(lambda: not is_alive(process), deadline_s=grace_s):
            _send(process, signal.SIGKILL)
    left = _session(process)
    for member in left:
        if member.pid != process.pid:
            _send(member, signal.SIGKILL)
    if not wait_until(lambda: not any(map(is_alive, [process, *left])), deadline_s=kill_s):
        raise StackError(f"{name} (pid {process.pid}) is still there {kill_s:.0f} s after SIGKILL; end it by hand")


def _send(process: ProcessId, sign: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        if is_alive(process):
            os.kill(process.pid, sign)


def _session(leader: ProcessId) -> list[ProcessId]:
    # The kernel does not hand out a pid while a session of that number has members: when a foreign process has the
    # leader's pid, nothing of our session is left.
    holder = identify(leader.pid)
    if holder is not None and holder != leader:
        return []
    members: list[ProcessId] = []
    for pid in psutil.pids():
        with contextlib.suppress(ProcessLookupError, PermissionError):
            if os.getsid(pid) == leader.pid:
                found = identify(pid)
                if found is not None:
                    members.append(found)
    return members


def free_port(preferred: int | None = None) -> int:
    """A TCP port on loopback that nobody listens on: the preferred one when free, else one of the system's choice.

    Another program may take it before the child binds it: whoever starts a service tries again with another port.
    """
    for port in (preferred, 0):
        if port is None:
            continue
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
            # As servers do: a port whose last connections still linger in TIME_WAIT is free.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            with contextlib.suppress(OSError):
                probe.bind((LOOPBACK, port))
                return int(probe.getsockname()[1])
    raise StackError("no free TCP port on 127.0.0.1; is the loopback interface up (ip link set lo up)?")
