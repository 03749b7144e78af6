"""Starts and ends a router in order: socket, workers, sources; at the end traffic stops, answers end, logs are written,
backends go.
"""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
import signal
import socket
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from flytewheel.settings import Settings
from router.keeper.workers import Workers
from router.metrics import name_metrics
from router.server import Certificate

logger = logging.getLogger("router.keeper")

_PATH_LIMIT = 100  # of a Unix socket: 108 bytes on Linux, 104 on macOS
_RENEW_S = 5.0


@dataclass(frozen=True, slots=True)
class Options:
    """How a router is run, beside its settings."""

    workers: int
    certificate: Certificate | None = None


async def keep(settings: Settings, listener: socket.socket, options: Options) -> None:
    """Runs a router on a listening socket until SIGTERM or SIGINT; a second one ends it at once.

    SIGHUP replaces the workers one by one, each after its running answers.
    """
    folder = _choose_folder(settings.home)
    path = folder / f"keeper-{os.getpid()}.sock"
    workers = Workers(options.workers, listener, _spell(path, settings, options))
    ended = _catch_signals(workers)
    await workers.start()
    try:
        from router.keeper.tending import Tending  # takes a second to import, in which the workers boot

        tending = await Tending.open(settings, workers, path)
        try:
            if options.certificate is not None:
                tending.do(_renew(options.certificate, workers))
            await ended.wait()
            logger.info("ending after the running answers, within %g s", settings.drain_s)
            tending.state.draining = True
            listener.close()
            await workers.stop(settings.drain_s)
        finally:
            workers.kill()
            await tending.close()
    finally:
        workers.kill()
        path.unlink(missing_ok=True)
        shutil.rmtree(name_metrics(path), ignore_errors=True)
        if folder != settings.home / "router":
            with suppress(OSError):
                folder.rmdir()


def _spell(path: Path, settings: Settings, options: Options) -> list[str]:
    told = ["--keeper", str(path), "--drain-s", str(settings.drain_s)]
    if options.certificate is not None:
        told += ["--tls", str(options.certificate.chain), str(options.certificate.key)]
    return told


def _choose_folder(home: Path) -> Path:
    """A folder for the socket that only this user may enter, with a path that is short enough for one."""
    folder = home / "router"
    if len(os.fsencode(folder / "keeper-4194304.sock")) > _PATH_LIMIT:
        return Path(tempfile.mkdtemp(prefix="flytewheel-"))
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o700)
    for left in folder.glob("keeper-*.sock"):  # of keepers that were killed
        with suppress(OSError, ValueError):
            if not Path(f"/proc/{int(left.stem.partition('-')[2])}").exists():
                left.unlink()
                shutil.rmtree(name_metrics(left), ignore_errors=True)
    return folder


def _catch_signals(workers: Workers) -> asyncio.Event:
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()

    def end() -> None:
        if ended.is_set():
            logger.warning("told to end a second time: running answers are broken off")
            workers.kill()
        ended.set()

    def replace() -> None:
        task = loop.create_task(workers.replace_all())
        replacing.add(task)
        task.add_done_callback(replacing.discard)

    replacing: set[asyncio.Task[None]] = set()
    loop.add_signal_handler(signal.SIGTERM, end)
    loop.add_signal_handler(signal.SIGINT, end)
    loop.add_signal_handler(signal.SIGHUP, replace)
    return ended


async def _renew(certificate: Certificate, workers: Workers) -> None:
    """Has workers take renewed files, once both go together; running connections keep what they have."""
    seen = certificate.stamp()
    while True:
        await asyncio.sleep(_RENEW_S)
        stamp = certificate.stamp()
        if stamp == seen:
            continue
        try:
            certificate.load()
        except Exception as error:
            logger.error("the renewed certificate is not taken: %s", error)
        else:
            workers.tell_all("certificate")
            logger.info("the certificate was renewed")
        seen = stamp
