"""Events in the spool: on the disk before their sender is told, and not for ever."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path

import pytest

from router.log import Log
from router.log.budget import Budget
from router.log.database import Session
from router.log.waiting import PATIENCE_S, WaitingEvents
from tests.router.log.stage import ask, event, list_ids, put_all

AWAY = "postgresql://nobody@127.0.0.1:1/none"


def test_nothing_is_promised_before_it_is_on_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A power cut after the answer must find the event: the file's bytes and its name were both forced out."""
    forced: list[tuple[int, bytes]] = []
    real = os.fsync

    def fsync(fd: int) -> None:
        path = Path(os.readlink(f"/proc/self/fd/{fd}"))
        forced.append((len(forced), path.read_bytes() if path.is_file() else b"folder"))
        real(fd)

    async def run() -> None:
        log = Log(AWAY, tmp_path)
        monkeypatch.setattr(os, "fsync", fsync)
        for number in range(3):
            assert await log.store_events([event(f"e-{number}", "i-1")]) == ["stored"]
            assert any(f"e-{number}".encode() in data for _, data in forced)
        assert any(data == b"folder" for _, data in forced)
        put_all(log, ["i-1"])
        await log.close(timeout_s=0.0)
        assert any(b"What is i-1?" in data for _, data in forced)

    asyncio.run(run())


def make_waiting(folder: Path) -> WaitingEvents:
    return WaitingEvents(folder, Budget(folder))


def test_an_event_waits_a_day_for_its_interaction_then_goes_to_quarantine(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    waiting, session = make_waiting(tmp_path), Session(url)
    held: list[tuple[str, str]] = []

    def replay() -> int:
        return waiting.replay(
            session, refuses=lambda row: False, hold=lambda row, reason: held.append((row.event_id, reason))
        )

    waiting.append([event("e-1", "nobody"), event("e-2", "nobody")])
    assert replay() == 0
    assert waiting.kept == 2
    now = time.time()
    monkeypatch.setattr("router.log.waiting.time.time", lambda: now + PATIENCE_S + 5)
    assert replay() == 2
    assert held == [("e-1", "unknown interaction"), ("e-2", "unknown interaction")]
    assert list(tmp_path.iterdir()) == []
    session.close()


def test_segments_that_wait_are_joined(url: str, tmp_path: Path) -> None:
    """Receipts of answers that never came must not fill a folder with files."""
    session = Session(url)
    waiting = make_waiting(tmp_path)
    for number in range(10):
        waiting.append([event(f"e-{number}", "nobody"), event("same", "nobody")])
        waiting.seal()
    assert len(waiting.find()) == 10
    assert waiting.replay(session, refuses=lambda row: False, hold=lambda row, reason: None) == 9
    assert len(waiting.find()) == 1
    assert waiting.kept == 11
    session.close()


def test_requests_that_overlap_are_stored_once(url: str, tmp_path: Path) -> None:
    names = [f"e-{number:05}" for number in range(4000)]

    async def run() -> None:
        log = Log(url, tmp_path)
        put_all(log, ["i-1"])
        told = await asyncio.gather(
            *(
                log.store_events([event(name, "i-1") for name in names[place : place + 1500]])
                for place in (0, 1000, 2500)
            )
        )
        assert [outcome for part in told for outcome in part].count("stored") == 4000
        assert told[1][:500] == ["duplicate"] * 500
        await log.close()

    asyncio.run(run())
    assert sorted(list_ids(url)[1]) == names
    assert ask(url, "SELECT count(*) FROM quarantine") == [(0,)]
