"""A person in the router's spool: of a router that is no more, of one that runs, and of one on another machine."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path

import pytest

from flytewheel.erase.erasure import erase_user
from flytewheel.erase.needles import Needles
from flytewheel.erase.person import Person
from flytewheel.erase.plan import find_everything, make_plan
from flytewheel.erase.waiting import sweep_spool
from flytewheel.errors import FeedbackError
from router.log import Log
from tests.erase.scanner import Scanner, list_forms
from tests.erase.stage import MARIA, MARKERS, NOW, Stage
from tests.erase.test_erasure import place_of, tell
from tests.router.log.stage import event, record, until

AWAY = "postgresql://nobody@127.0.0.1:1/none"


def say(log: Log) -> None:
    """Hers between others', with an event of each."""
    for number in range(20):
        user = MARIA if number % 4 == 1 else f"user-{number:03}"
        said = {"query": MARKERS["prompt"], "response": MARKERS["answer"]} if user == MARIA else {}
        assert log.put(record(f"said-{number:03}", user_id=user, timestamp=NOW, **said), "oncall")


async def fill(folder: Path) -> None:
    log = Log(AWAY, folder)
    say(log)
    for number in range(4):
        user = MARIA if number == 1 else f"user-{number:03}"
        comment = MARKERS["comment"] if user == MARIA else "fine"
        row = event(f"heard-{number}", f"said-{number:03}", user_id=user, comment=comment)
        assert await log.store_events([row]) == ["stored"]
    await log.close(timeout_s=0.0)


async def drain(stage: Stage, folder: Path, key: str = "") -> None:
    log = Log(stage.services.database_url, folder, erasure_key=lambda: key)
    try:
        await until(lambda: not list(folder.glob("*.seg")), what="an empty spool", timeout_s=20.0 if key else 1.5)
    finally:
        await log.close(timeout_s=1.0)


def test_a_spool_is_written_anew_without_the_person_and_an_old_one_does_not_bring_her_back(
    stage: Stage, tmp_path: Path
) -> None:
    services, elsewhere = stage.services, tmp_path / "elsewhere"
    spool = services.home / "spool"
    asyncio.run(fill(spool))
    shutil.copytree(spool, elsewhere)
    (spool / "damaged").mkdir()
    (spool / "damaged" / "old.bin").write_bytes(f'\1\2{{"user_id":"{MARIA}"}}'.encode())
    markers = {name: list_forms(marker) for name, marker in MARKERS.items()} | {"user": list_forms(MARIA)}
    scanner = Scanner(markers)
    assert scanner.scan(services.home)
    place = place_of(stage)
    found = find_everything(services.database_url, stage.store, MARIA, tell)
    plan = make_plan(services.database_url, stage.store, services.home, found, tell)
    assert plan.files == {"spool": 7}
    assert not plan.empty
    done = erase_user(place, MARIA, by="tests", found=found)
    assert done.erasure.report["files"] == {"spool": 7}
    assert scanner.scan(services.home) == {}
    asyncio.run(drain(stage, spool, services.erasure_key))
    others = {f"said-{number:03}" for number in range(20) if number % 4 != 1}
    assert {row[0] for row in stage.ask("SELECT interaction_id FROM interactions")} == others
    assert {row[0] for row in stage.ask("SELECT event_id FROM feedback_events")} == {"heard-0", "heard-2", "heard-3"}
    # The spool of a machine that was off: without the key nobody can tell who must stay out, and nothing is stored.
    with pytest.raises(TimeoutError):
        asyncio.run(drain(stage, elsewhere))
    assert scanner.scan(elsewhere)
    asyncio.run(drain(stage, elsewhere, services.erasure_key))
    assert {row[0] for row in stage.ask("SELECT interaction_id FROM interactions")} == others
    assert stage.ask("SELECT count(*) FROM quarantine") == [(0,)]


def test_an_erasure_waits_for_a_router_that_stores_what_it_holds(stage: Stage) -> None:
    async def run() -> None:
        log = Log(stage.services.database_url, stage.services.home / "spool")
        say(log)
        await asyncio.to_thread(erase_user, place_of(stage), MARIA, by="tests")
        await log.close()

    asyncio.run(run())
    assert stage.ask("SELECT count(*) FROM interactions WHERE user_id = %s", (MARIA,)) == [(0,)]
    assert stage.ask("SELECT count(*) FROM interactions") == [(15,)]


def test_a_router_that_cannot_store_what_it_holds_is_said(stage: Stage) -> None:
    home = stage.services.home
    person = Person(MARIA, frozenset((MARIA,)), frozenset(), frozenset())
    needles = Needles(person, [], [])

    async def run() -> None:
        log = Log(AWAY, home / "spool")
        say(log)
        with pytest.raises(FeedbackError, match=r"5 records of this user wait in .*spool for a running router"):
            sweep_spool(home, needles, write=True, patience_s=0.2)
        assert sweep_spool(home, needles, write=False) == 5
        await log.close(timeout_s=0.0)
        assert sweep_spool(home, needles, write=True, patience_s=0.2) == 5

    asyncio.run(run())
