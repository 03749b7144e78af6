"""The embedded object store: real S3 requests, objects through kill -9, and no door open to the outside."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import psutil
import pytest

from flytewheel.errors import StackError
from flytewheel.local import objects, processes
from flytewheel.local.processes import LOOPBACK, ProcessId
from registry.store import ObjectStore


@pytest.fixture
def cleanup() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def start(folder: Path, cleanup: ExitStack, *, port: int | None = None) -> tuple[ProcessId, int, ObjectStore]:
    process, port = objects.start(
        folder / "objects", log=folder / "log", access_key="key", secret_key="secret", bucket="wheel", port=port
    )
    cleanup.callback(objects.stop, process)
    return process, port, ObjectStore(objects.server_url(port), "key", "secret", "wheel")


def test_objects_survive_kill_9_and_the_bucket_is_there_again(tmp_path: Path, cleanup: ExitStack) -> None:
    folder = tmp_path / "a folder"
    process, port, store = start(folder, cleanup)
    big = os.urandom(20 << 20)  # more than one part
    store.put_bytes("big", big)
    etag = store.put_if_absent("versions/1", b"first")
    os.kill(process.pid, signal.SIGKILL)
    assert processes.wait_until(lambda: not processes.is_alive(process), deadline_s=10)
    _, again, store = start(folder, cleanup, port=port)
    assert again == port
    assert store.get_bytes("big") == big
    assert store.put_if_absent("versions/1", b"second") is None
    assert etag is not None
    assert store.put_if_match("versions/1", b"third", etag) is not None


def test_only_one_port_is_open_and_on_loopback(tmp_path: Path, cleanup: ExitStack) -> None:
    process, port, store = start(tmp_path, cleanup)
    store.put_bytes("one", b"1")  # it is fully up
    opened = psutil.Process(process.pid).net_connections("all")
    listening = {connection.laddr for connection in opened if connection.status == psutil.CONN_LISTEN}
    assert listening == {(LOOPBACK, port)}
    assert "no-docker.sock" in psutil.Process(process.pid).environ()["DOCKER_HOST"]


def test_its_files_are_for_this_user_only(tmp_path: Path, cleanup: ExitStack) -> None:
    start(tmp_path, cleanup)
    assert (tmp_path / "objects").stat().st_mode & 0o777 == 0o700
    assert (tmp_path / "log").stat().st_mode & 0o777 == 0o600


def test_a_bucket_name_that_s3_forbids_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(StackError, match="the object store is not ready after 1 s") as caught:
        objects.start(
            tmp_path, log=tmp_path / "log", access_key="k", secret_key="s", bucket="Not_A_Bucket", deadline_s=1
        )
    assert "\n" not in str(caught.value)
