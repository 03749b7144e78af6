"""The embedded object store: ministack's S3 on loopback, with its data on disk.

A development store: its conditional writes are right (25 eight-way races) and objects survive kill -9, but it accepts
any key, so it listens on loopback only. Bucket settings are not on disk, hence the bucket is made again at every start.
Three traps of ministack 1.5.33 are closed here: its own command binds every interface (so hypercorn is called), it
opens an MQTT port on 0.0.0.0:8883 even when only S3 is asked for, and at its start and end it removes containers that
carry its label from this machine's Docker (so it is pointed at a socket that does not exist).
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

from flytewheel.errors import StoreError
from flytewheel.local import processes
from flytewheel.local.processes import LOOPBACK, ProcessId, Program
from registry.store import ObjectStore


def start(
    data_dir: Path,
    *,
    log: Path,
    access_key: str,
    secret_key: str,
    bucket: str,
    port: int | None = None,
    deadline_s: float = 60,
    spawned: Callable[[ProcessId, int], None] = lambda process, port: None,
) -> tuple[ProcessId, int]:
    """Starts the store and makes its bucket.

    Args:
        data_dir: objects lie under it; created when missing.
        log: the server's output is appended to it.
        access_key: what clients will send.
        secret_key: what clients will sign with.
        bucket: created when it is missing.
        port: the port of the last start, taken again when it is free.
        deadline_s: how long one start may take.
        spawned: told the process and its port at once.

    Returns:
        The process and its port.

    Raises:
        StackError: it did not answer S3 requests in time.
    """
    data_dir.mkdir(parents=True, exist_ok=True)
    data_dir.chmod(0o700)
    program = Program(
        name="the object store",
        command=lambda port: [
            *(sys.executable, "-m", "hypercorn", "ministack.app:app"),
            *("--bind", f"{LOOPBACK}:{port}", "--workers", "0"),
        ],
        ready=lambda port: answers(server_url(port), access_key, secret_key, bucket),
        environ=_environ(data_dir),
        log=log,
        cwd=data_dir,
    )
    return processes.start_on_port(program, port=port, deadline_s=deadline_s, spawned=spawned)


def stop(process: ProcessId) -> None:
    """Stops the store; objects are on disk at every moment."""
    processes.stop(process, name="the object store")


def server_url(port: int) -> str:
    """The endpoint of the store on this port."""
    return f"http://{LOOPBACK}:{port}"


def answers(url: str, access_key: str, secret_key: str, bucket: str) -> bool:
    """Whether the store takes a real S3 request: its bucket is there, or could be made."""
    try:
        ObjectStore(url, access_key, secret_key, bucket).ensure_bucket()
    except StoreError:
        return False
    return True


def _environ(data_dir: Path) -> dict[str, str]:
    # Only what Python needs is inherited: an AWS_, MINISTACK_ or LOCALSTACK_ variable would change the server.
    kept = {key: os.environ[key] for key in ("PATH", "HOME", "TMPDIR", "LANG", "VIRTUAL_ENV") if key in os.environ}
    return kept | {
        "PYTHONUNBUFFERED": "1",
        "SERVICES": "s3",
        "S3_PERSIST": "1",
        "S3_DATA_DIR": str(data_dir / "data"),
        "PERSIST_STATE": "1",
        "STATE_DIR": str(data_dir / "state"),
        "IOT_MTLS_ENABLED": "0",
        "SFTP_ENABLED": "0",
        "DOCKER_HOST": f"unix://{data_dir}/no-docker.sock",
        "LOG_LEVEL": "WARNING",
        "MINISTACK_WORKER_THREADS": "8",
    }
