"""Killed at every write: what was acknowledged is in the database in the end, once each, and nothing else."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path
from typing import get_args

from flytewheel.spool import EVENTS, INTERACTIONS, create_segment
from router.log import Log
from router.log.log import Log as _Log
from tests.router.log.kills import When, replay, write_through
from tests.router.log.stage import Server, ask, event, list_ids, put_all, until

WHENS: tuple[When, ...] = get_args(When)
AWAY = "postgresql://nobody@127.0.0.1:1/none"


def list_left(folder: Path) -> list[tuple[str, int, int]]:
    """Name, inode (which /proc/locks tells, too) and size of what lies in a spool."""
    found = [*folder.glob("*.seg"), *folder.glob("*.part")]
    return [(path.name, kept.st_ino, kept.st_size) for path in found if (kept := stat(path)) is not None]


def stat(path: Path) -> os.stat_result | None:
    try:
        return path.stat()
    except FileNotFoundError:
        return None


def finish(url: str, folder: Path) -> None:
    """A successor that nobody kills."""

    async def run() -> None:
        log: _Log = Log(url, folder)
        try:
            await until(lambda: not list_left(folder), what="an empty spool", timeout_s=60.0)
        except TimeoutError:
            raise AssertionError(f"in the spool: {list_left(folder)}; {Path('/proc/locks').read_text()}") from None
        finally:
            await log.close()

    asyncio.run(run())


def check(url: str, acknowledged: set[str]) -> None:
    said, heard = list_ids(url)
    stored = {*said, *heard}
    assert len(stored) == len(said) + len(heard)
    assert acknowledged <= stored, sorted(acknowledged - stored)[:5]
    assert ask(url, "SELECT count(*) FROM quarantine") == [(0,)]


def test_a_segment_that_never_got_a_record_goes(url: str, tmp_path: Path) -> None:
    for kind in (EVENTS, INTERACTIONS):
        create_segment(tmp_path, kind, durable=True).close()
    assert len(list_left(tmp_path)) == 2
    finish(url, tmp_path)


def test_a_worker_that_is_killed_at_any_write_loses_nothing(url: str, tmp_path: Path) -> None:
    """With the database at hand, and without one: then everything goes through the spool."""
    told = tmp_path / "acknowledged"
    for name, where, number in (("away", AWAY, 4), ("there", url, 4)):
        folder = tmp_path / name
        folder.mkdir()
        ended = {}
        for when in WHENS:
            for place in range(60):
                ended[place, when] = write_through(where, folder, told, place, when, number)
                if ended[place, when] == 0:
                    break
                assert ended[place, when] == -signal.SIGKILL
        assert len(ended) > 3 * 8, "too few writes to be a test"
        finish(url, folder)
    check(url, set(told.read_text().split()))


def test_a_replay_that_is_killed_at_any_write_stores_everything_once(server: Server, url: str, tmp_path: Path) -> None:
    names = [f"i-{number}" for number in range(8)]

    async def fill(folder: Path) -> None:
        log = Log(AWAY, folder)
        put_all(log, names)
        for name in names:
            assert await log.store_events([event(f"e-{name}", name)]) == ["stored"]
        await log.close(timeout_s=0.0)

    for when in ("before", "torn", "after"):
        fresh = server.make_database()
        folder = tmp_path / when
        asyncio.run(fill(folder))
        kills = 0
        while replay(fresh, folder, kills, when) == -signal.SIGKILL:  # type: ignore[arg-type]
            kills += 1
            assert kills < 100
        assert kills >= 5, "the replay ended before it was killed often enough"
        assert sorted(list_ids(fresh)[0]) == names
        assert sorted(list_ids(fresh)[1]) == [f"e-{name}" for name in names]
        assert ask(fresh, "SELECT count(*) FROM quarantine") == [(0,)]
