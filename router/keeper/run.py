"""Starts and ends a router in order: socket, workers, sources; at the end traffic stops, answers end, logs are written,
backends go.
"""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
from contextlib import suppress

from flytewheel.settings import Settings
from router.keeper.guard import CLOSES, END, REPLACE, Link
from router.keeper.place import Options, clear_place
from router.keeper.workers import Workers
from router.server import Certificate

logger = logging.getLogger("router.keeper")

_RENEW_S = 5.0


async def keep(settings: Settings, listener: socket.socket, options: Options, link: Link) -> None:
    """Runs a router on a listening socket until its guard says `END`, or has gone; a second word ends it at once.

    `REPLACE` replaces the workers one by one, each after its running answers.
    """
    workers = Workers(link.workers, listener, link.life, _spell(settings, options))
    ends = _listen_to(link, workers)
    await workers.start()
    try:
        from router.keeper.tending import Tending  # takes a second to import, in which the workers boot

        tending = await Tending.open(settings, workers, options.path, link)
        try:
            if options.certificate is not None:
                tending.do(_renew(options.certificate, workers))
            await ends.wait()
            tending.state.draining = True  # /readyz says it
            if not ends.alone:
                await ends.wait_again(settings.drain_notice_s)
            logger.info("ending after the running answers, within %g s", settings.drain_s)
            link.say(CLOSES)
            listener.close()
            await workers.stop(settings.drain_s)
        finally:
            workers.kill()
            await tending.close()
    finally:
        workers.kill()
        clear_place(options.path, settings.home)


def _spell(settings: Settings, options: Options) -> list[str]:
    told = ["--keeper", str(options.path), "--drain-s", str(settings.drain_s)]
    if options.certificate is not None:
        told += ["--tls", str(options.certificate.chain), str(options.certificate.key)]
    return told


class _Ends:
    """How often the keeper was told to end; `alone`: nobody told it, the guard has gone."""

    def __init__(self) -> None:
        self.told = 0
        self.alone = False
        self._more = asyncio.Event()

    def tell(self) -> None:
        """Once more."""
        self.told += 1
        self._more.set()

    async def wait(self) -> None:
        """Returns when it was told."""
        await self._more.wait()

    async def wait_again(self, timeout_s: float) -> None:
        """Waits so long, or until it is told a second time."""
        if self.told == 1:
            self._more.clear()
            with suppress(TimeoutError):
                await asyncio.wait_for(self._more.wait(), timeout_s)


def _listen_to(link: Link, workers: Workers) -> _Ends:
    loop = asyncio.get_running_loop()
    ends = _Ends()

    def hear() -> None:
        try:
            words = link.socket.recv(64)
        except BlockingIOError:
            return
        if not words:
            loop.remove_reader(link.socket.fileno())
            ends.alone = True
            words = b"" if ends.told else END
        for _ in range(words.count(END)):
            if ends.told:
                logger.warning("told to end a second time: running answers are broken off")
                workers.kill()
            ends.tell()
        if REPLACE in words and not ends.told:
            task = loop.create_task(workers.replace_all())
            replacing.add(task)
            task.add_done_callback(replacing.discard)

    replacing: set[asyncio.Task[None]] = set()
    loop.add_reader(link.socket.fileno(), hear)
    for each in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        loop.add_signal_handler(each, _pass_over)
    return ends


def _pass_over() -> None:
    """It reaches the whole group of processes (Ctrl-C, a service manager); the guard says what it means."""


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
