"""The embedded PostgreSQL: its data through kill -9, its lock file, its password, and who may run it where."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import psutil
import psycopg
import pytest

from flytewheel.errors import StackError
from flytewheel.local import places, postgres, processes
from flytewheel.local.places import Account
from flytewheel.local.processes import LOOPBACK, ProcessId, Program

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user: run it as root")
PASSWORD = "a-password"


class Server:
    """One data folder and the servers that a test starts on it."""

    def __init__(self, folder: Path, cleanup: ExitStack) -> None:
        self.data_dir = folder / "data"
        self.log = folder / "log"
        self._cleanup = cleanup

    def start(self, *, password: str = PASSWORD, port: int | None = None, programs: Path | None = None) -> ProcessId:
        process, self.port = postgres.start(
            self.data_dir, password=password, log=self.log, port=port, durable=False, programs=programs
        )
        self.url = postgres.server_url(self.port, password, postgres.DATABASE)
        self._cleanup.callback(postgres.stop, process)
        return process

    def ask(self, statement: str) -> object:
        with psycopg.connect(self.url, autocommit=True) as connection:
            cursor = connection.execute(statement)
            row = cursor.fetchone() if cursor.description else None
            return row[0] if row else None


@pytest.fixture(scope="module")
def folder(open_dir: Path) -> Path:
    """Where this module's data folder is: initdb takes half a second, so the tests share it."""
    folder = Path(tempfile.mkdtemp(prefix="a folder ", dir=open_dir))  # a space, as people's folders have
    folder.chmod(0o711)
    return folder


@pytest.fixture
def server(folder: Path) -> Iterator[Server]:
    with ExitStack() as cleanup:
        yield Server(folder, cleanup)


def test_rows_survive_kill_9(server: Server) -> None:
    process = server.start()
    server.ask("CREATE TABLE kept AS SELECT 42 AS value")
    os.kill(process.pid, signal.SIGKILL)
    assert (server.data_dir / "postmaster.pid").exists()
    again = server.start(port=server.port)
    assert again != process
    assert server.ask("SELECT value FROM kept") == 42


def test_a_lock_file_whose_pid_is_somebody_elses_does_not_stop_it(server: Server) -> None:
    account = places.unprivileged_account()
    # PostgreSQL believes a lock file whose pid belongs to any live process of its own user.
    sleep = Program(
        name="a stranger",
        command=lambda port: ["/bin/sleep", "99"],
        ready=lambda port: True,
        environ={},
        log=server.log,
        user=account.user,
        group=account.group,
    )
    stranger = processes.spawn(sleep, 0)
    try:
        lock = server.data_dir / "postmaster.pid"
        lock.write_text(f"{stranger.pid}\n{server.data_dir}\n1700000000\n5432\n\n127.0.0.1\n\nready\n")
        places.give(lock, account)
        server.start()
        assert server.ask("SELECT 1") == 1
        assert processes.is_alive(stranger)
    finally:
        processes.stop(stranger, name="a stranger")


def test_a_running_server_without_a_record_is_replaced(server: Server) -> None:
    forgotten = server.start()
    server.start()
    assert not processes.is_alive(forgotten)
    assert server.ask("SELECT 1") == 1


def test_a_lost_password_is_set_anew(server: Server) -> None:
    process = server.start()
    server.ask("CREATE TABLE remembered AS SELECT 7 AS value")
    postgres.stop(process)
    server.start(password="another")
    assert server.ask("SELECT value FROM remembered") == 7
    assert not postgres.answers(postgres.server_url(server.port, PASSWORD, postgres.DATABASE))


def test_it_listens_on_loopback_tcp_only_and_wants_a_password(server: Server) -> None:
    process = server.start()
    opened = psutil.Process(process.pid).net_connections("all")
    listening = {connection.laddr for connection in opened if connection.status == psutil.CONN_LISTEN}
    assert listening == {(LOOPBACK, server.port)}
    assert server.ask("SHOW unix_socket_directories") == ""
    with pytest.raises(psycopg.OperationalError, match="no password supplied"):
        psycopg.connect(f"postgresql://{postgres.ROLE}@{LOOPBACK}:{server.port}/postgres", passfile=str(server.log))
    assert "scram-sha-256" in str(server.ask("SELECT string_agg(DISTINCT auth_method, ',') FROM pg_hba_file_rules"))
    assert "trust" not in str(server.ask("SELECT string_agg(DISTINCT auth_method, ',') FROM pg_hba_file_rules"))


def test_stop_does_not_wait_for_clients(server: Server) -> None:
    process = server.start()
    with psycopg.connect(server.url, autocommit=True) as connection:
        postgres.stop(process)
        assert not (server.data_dir / "postmaster.pid").exists()  # it was not killed
        with pytest.raises(psycopg.OperationalError):
            connection.execute("SELECT 1")


def test_data_is_flushed_unless_asked_otherwise() -> None:
    assert "fsync=on" in postgres._server_options(1, durable=True)
    assert "fsync=off" in postgres._server_options(1, durable=False)


def test_a_folder_with_other_files_is_left_alone(open_dir: Path) -> None:
    folder = Path(tempfile.mkdtemp(dir=open_dir))
    (folder / "thesis.txt").write_text("precious")
    with pytest.raises(StackError, match="holds files but no PostgreSQL data"):
        postgres.start(folder, password=PASSWORD, log=open_dir / "log", durable=False)
    assert [path.name for path in folder.iterdir()] == ["thesis.txt"]


def test_a_damaged_data_folder_is_one_line(server: Server) -> None:
    postgres.stop(server.start())
    control = server.data_dir / "global" / "pg_control"
    control.rename(server.data_dir / "set-aside")
    with pytest.raises(StackError, match=r"PostgreSQL ended while it started; .*could not find the database") as caught:
        server.start()
    assert "\n" not in str(caught.value)
    (server.data_dir / "set-aside").rename(control)


def test_root_does_not_run_it_itself(server: Server) -> None:
    process = server.start()
    owner = psutil.Process(process.pid).uids().effective
    assert owner != 0
    assert server.data_dir.stat().st_uid == owner
    assert server.data_dir.stat().st_mode & 0o777 == 0o700


@as_root
def test_closed_folders_of_roots_get_an_open_place(open_dir: Path) -> None:
    closed = Path(tempfile.mkdtemp(dir=open_dir))  # 0700, as /root is
    home, outside = closed / "clone" / ".flytewheel", open_dir / "outside"
    home.mkdir(parents=True)
    outside.mkdir()
    installed = postgres.find_programs()
    programs = closed / "venv" / installed.parent.name / installed.name
    shutil.copytree(installed, programs, symlinks=True)
    libraries = installed.parent.parent / f"{installed.parent.name}.libs"
    shutil.copytree(libraries, programs.parent.parent / libraries.name)
    account = places.unprivileged_account()
    assert not places.can_reach(home, account)
    assert not places.can_reach(programs / "bin" / "postgres", account)

    data_dir = places.choose_place(home, account, outside=[closed, outside])
    assert data_dir.parent.parent == outside
    assert (home / "postgres").is_symlink()
    assert places.choose_place(home, account, outside=[]) == data_dir  # found again by the link
    with ExitStack() as cleanup:
        for _ in range(2):
            process, port = postgres.start(
                data_dir, password=PASSWORD, log=home / "log", durable=False, programs=programs
            )
            cleanup.callback(postgres.stop, process)
            assert postgres.answers(postgres.server_url(port, PASSWORD, postgres.DATABASE))
            assert psutil.Process(process.pid).exe().startswith(str(data_dir.parent))
    assert len(list(data_dir.parent.glob("programs-*"))) == 1  # copied once
    places.remove_place(home, outside=[outside])
    assert list(outside.iterdir()) == []
    assert not (home / "postgres").is_symlink()


@as_root
def test_an_ordinary_user_starts_it_as_himself(open_dir: Path) -> None:
    account = places.unprivileged_account()
    programs = places.reachable_programs(postgres.find_programs(), open_dir / "data", account)
    folder = Path(tempfile.mkdtemp(dir=open_dir))
    places.give(folder, account)
    # The privileges go after the imports: the interpreter itself may lie where only root can read.
    code = (
        "import os, sys; from pathlib import Path; from flytewheel.local import places, postgres;"
        "user, group, programs, home = int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]), Path(sys.argv[4]);"
        "os.setgroups([]); os.setgid(group); os.setuid(user);"
        "data = places.choose_place(home, places.unprivileged_account());"
        "process, port = postgres.start(data, password='p', log=home / 'log', durable=False, programs=programs);"
        "url = postgres.server_url(port, 'p', 'flytewheel');"
        "print(os.geteuid(), data == home / 'postgres', postgres.answers(url));"
        "postgres.stop(process)"
    )
    root = Path(postgres.__file__).resolve().parents[2]
    done = subprocess.run(
        [sys.executable, "-c", code, str(account.user), str(account.group), programs, folder],
        env={"PYTHONPATH": str(root), "PATH": os.environ["PATH"]},
        cwd="/",
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stderr == ""
    assert done.stdout.split() == [str(account.user), "True", "True"]


def test_a_place_that_is_gone_is_one_line(open_dir: Path) -> None:
    home = Path(tempfile.mkdtemp(dir=open_dir))
    (home / "postgres").symlink_to(open_dir / "deleted" / "data")
    with pytest.raises(StackError, match="which is gone; restore it, or delete the link to start empty"):
        places.choose_place(home, Account(None, None))


@as_root
def test_no_open_place_is_one_line(open_dir: Path) -> None:
    closed = Path(tempfile.mkdtemp(dir=open_dir))
    with pytest.raises(StackError, match="'nobody' can enter no place that root can write"):
        places.choose_place(closed, places.unprivileged_account(), outside=[closed, open_dir / "missing"])
