"""What goes in comes out, once: while the database runs, stops, starts, is read-only, refuses a row."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
import pytest

from router.log import Log, LogFullError, ingest
from router.log.database import Session
from router.log.log import LogState
from tests.router.log.stage import Server, ask, event, list_ids, put_all, record, until

NAMES = [f"i-{number:03}" for number in range(50)]


def test_what_is_put_is_stored_and_nothing_stays_on_disk(url: str, tmp_path: Path) -> None:
    async def run() -> None:
        log = Log(url, tmp_path)
        for name in reversed(NAMES):
            assert log.put(record(name), "de\tmo")
        await until(lambda: sorted(list_ids(url)[0]) == NAMES, what="stored")
        await until(lambda: not list(tmp_path.iterdir()), what="a spool that is empty while the log lives")
        put_all(log, ["late"])
        await log.close()
        assert log.state.written == 51
        assert (log.state.waiting, log.state.shed, log.state.failing) == (0, 0, None)

    asyncio.run(run())
    assert ask(url, "SELECT DISTINCT source FROM interactions WHERE interaction_id <> 'late'") == [("de\tmo",)]
    assert list(tmp_path.iterdir()) == []


def test_odd_texts_come_back_as_they_were(url: str, tmp_path: Path) -> None:
    texts = ["\\", "\\.", "\\N", "a\tb\nc\rd", '"', "\u2028\x7f", "🙂", "\\u0000", "\\\\n"]

    async def run() -> None:
        log = Log(url, tmp_path)
        for number, text in enumerate(texts):
            assert log.put(record(f"i{number}{text}", response=text, user_id=text, metadata={text: text}), text)
        assert not log.put(record("nul", response="a\0b"), "demo")
        rows = [
            event(f"e{n}{text}", f"i{n}{text}", comment=text, user_id=text, source=text) for n, text in enumerate(texts)
        ]
        assert await log.store_events(rows) == ["stored"] * len(texts)
        await log.close()
        assert log.state.refused == 1

    asyncio.run(run())
    rows = ask(
        url,
        "SELECT i.source, i.user_id, i.body ->> 'response', e.body ->> 'comment', e.source, i.body ->> 'interaction_id'"
        " FROM interactions i JOIN feedback_events e USING (interaction_id) ORDER BY substr(interaction_id, 2, 1)::int",
    )
    assert rows == [(text, text, text, text, text, f"i{number}{text}") for number, text in enumerate(texts)]


def test_every_event_is_told_what_became_of_it(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ingest, "_CATCH_UP_S", 20.0)  # a machine with other work

    async def run() -> None:
        log = Log(url, tmp_path)
        put_all(log, NAMES[:2])
        first = event("e-1", NAMES[0], comment="fine")
        # Its interaction was put a moment ago: the writer is made to hurry, and nothing is spooled.
        assert await log.store_events([first]) == ["stored"]
        assert log.state.spooled == 0
        other = event("e-1", NAMES[0], comment="no")
        told = await log.store_events(
            [first, other, event("e-2", NAMES[1]), event("e-2", NAMES[1]), event("e-3", "nobody", proven=False)]
        )
        assert told == ["duplicate", "conflict", "stored", "duplicate", "unknown"]
        assert await log.store_events([]) == []
        several = await asyncio.gather(*(log.store_events([event("e-4", NAMES[0])]) for _ in range(20)))
        assert sorted(outcome for (outcome,) in several) == ["duplicate"] * 19 + ["stored"]
        await log.close()

    asyncio.run(run())
    assert ask(url, "SELECT event_id, body ->> 'comment' FROM feedback_events ORDER BY 1") == [
        ("e-1", "fine"),
        ("e-2", None),
        ("e-4", None),
    ]


def test_an_event_is_looked_up_only_after_one_that_could_not_be_copied(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked: list[int] = []
    ask_really = Session.ask

    def ask_and_note(session: Session, query: str, values: Any) -> list[tuple[Any, ...]]:
        found = ask_really(session, query, values)
        if "feedback_events WHERE event_id" in query:
            looked.append(len(found))
        return found

    monkeypatch.setattr(Session, "ask", ask_and_note)

    async def run() -> None:
        log = Log(url, tmp_path)
        put_all(log, NAMES)
        await until(lambda: not log.state.waiting, what="the interactions")
        for number in range(3):
            rows = [event(f"e-{number}-{name}", name) for name in NAMES]
            assert await log.store_events(rows) == ["stored"] * len(rows)
        assert looked == []
        assert await log.store_events([event("e-x", NAMES[0], source="")]) == ["stored"]
        assert len(looked) == 1
        told = await log.store_events([event(f"e-0-{NAMES[0]}", NAMES[0]), event("e-y", NAMES[1])])
        assert told == ["duplicate", "stored"]
        assert len(looked) == 2
        for number in range(40):
            assert await log.store_events([event(f"e-z-{number}", NAMES[2])]) == ["stored"]
        assert 20 < len(looked) < 40
        given_up = [event("e-v", "still being answered"), event("e-w", "nobody", proven=False), event("e-u", NAMES[3])]
        assert await log.store_events(given_up) == ["stored", "unknown", "stored"]
        assert log.state.spooled == 1
        await log.close()

    asyncio.run(run())
    stored = list_ids(url)[1]
    assert len(stored) == len(set(stored)) == 3 * len(NAMES) + 43
    assert ask(url, "SELECT DISTINCT source FROM feedback_events") == [("demo",)]


def test_an_outage_loses_nothing_and_doubles_nothing(server: Server, url: str, tmp_path: Path) -> None:
    async def run() -> None:
        log = Log(url, tmp_path)
        put_all(log, NAMES[:10])
        await until(lambda: len(list_ids(url)[0]) == 10, what="ten rows")
        await asyncio.to_thread(server.stop)
        put_all(log, NAMES[10:30])
        told = await log.store_events([event("e-1", NAMES[3]), event("e-2", NAMES[20]), event("e-3", NAMES[40])])
        assert told == ["stored"] * 3
        assert await log.store_events([event("e-1", NAMES[3])]) == ["duplicate"]
        assert await log.store_events([event("e-1", NAMES[3], comment="else")]) == ["conflict"]
        later = datetime(2026, 11, 22, tzinfo=UTC)  # by our clock, where the sender says no time
        assert await log.store_events([event("e-4", NAMES[3], dated=False)]) == ["stored"]
        assert await log.store_events([event("e-4", NAMES[3], dated=False, timestamp=later)]) == ["duplicate"]
        assert await log.store_events([event("e-4", NAMES[3], timestamp=later)]) == ["conflict"]
        assert await log.store_events([event("e-4", NAMES[3], dated=False, comment="else")]) == ["conflict"]
        assert await log.settled(NAMES[20], 0.5)
        assert log.state.failing is not None
        assert log.state.waiting == 20
        await asyncio.to_thread(server.start)
        await until(lambda: list_ids(url) == (NAMES[:30], ["e-1", "e-2", "e-4"]), what="all of it, in its order")
        assert log.state.failing is None
        # The third waits for its interaction, which is still being answered.
        put_all(log, NAMES[30:])
        await until(lambda: list_ids(url) == (NAMES, ["e-1", "e-2", "e-4", "e-3"]), what="the event that waited")
        await log.close()

    asyncio.run(run())
    assert list(tmp_path.iterdir()) == []
    assert ask(url, "SELECT count(*) FROM quarantine") == [(0,)]


def test_a_log_that_closes_while_the_database_is_away_leaves_a_spool(server: Server, url: str, tmp_path: Path) -> None:
    async def run() -> None:
        log = Log(url, tmp_path)
        put_all(log, NAMES)
        assert await log.store_events([event("e-1", NAMES[0])]) == ["stored"]
        await log.close()
        assert log.state.waiting == 50
        assert log.state.shed == 0

    async def go_on() -> None:
        log = Log(url, tmp_path)
        await until(lambda: list_ids(url) == (NAMES, ["e-1"]), what="what the first one left")
        await log.close()

    server.stop()
    asyncio.run(run())
    server.start()
    asyncio.run(go_on())
    assert list(tmp_path.iterdir()) == []


def test_a_conflict_that_only_the_replay_finds_goes_to_quarantine_and_into_the_books(
    server: Server, url: str, tmp_path: Path
) -> None:
    from flytewheel.feedback.audit import audit

    async def run() -> None:
        log = Log(url, tmp_path / "a")
        put_all(log, NAMES[:2])
        await until(lambda: len(list_ids(url)[0]) == 2, what="stored")
        await asyncio.to_thread(server.stop)
        assert await log.store_events([event("e-1", NAMES[0]), event("e-2", NAMES[1])]) == ["stored", "stored"]
        await log.close()
        await asyncio.to_thread(server.start)
        other = Log(url, tmp_path / "b")
        assert await other.store_events([event("e-1", NAMES[0], comment="the other one")]) == ["stored"]
        await other.close()
        for _ in range(2):  # what is replayed twice is held and noted once
            copies = {path: path.read_bytes() for path in (tmp_path / "a").glob("*.seg")}
            successor = Log(url, tmp_path / "a")
            await until(lambda: not list((tmp_path / "a").glob("*.seg")), what="replayed")
            await successor.close()
            for path, data in copies.items():
                path.write_bytes(data)

    asyncio.run(run())
    assert ask(url, "SELECT kind, reason FROM quarantine") == [("feedback", "conflict")]
    assert ask(url, "SELECT kind, lines_read, stored, quarantined FROM imports") == [
        ("feedback", 1, 0, {"conflict": 1})
    ]
    assert list_ids(url)[1] == ["e-1", "e-2"]
    assert audit(url).holds


def test_a_row_that_postgresql_refuses_is_held_alone(url: str, tmp_path: Path) -> None:
    """A rule of the operator's own: no encoding of ours can know it."""
    with psycopg.connect(url) as connection:
        connection.execute("ALTER TABLE interactions ADD CHECK (body ->> 'response' <> 'forbidden')")
        connection.execute("ALTER TABLE feedback_events ADD CHECK (coalesce(body ->> 'comment', '') <> 'forbidden')")

    async def run() -> None:
        log = Log(url, tmp_path)
        for name in NAMES:
            assert log.put(record(name, response="forbidden" if name in NAMES[7:9] else "So."), "demo")
        await until(lambda: not log.state.waiting, what="the interactions")
        rows = [event(f"e-{n}", NAMES[n], comment="forbidden" if n == 4 else None) for n in range(6)]
        assert await log.store_events(rows) == ["stored"] * 4 + ["conflict", "stored"]
        await log.close()
        assert log.state.written == 48
        assert log.state.quarantined == 2

    asyncio.run(run())
    held = ask(url, "SELECT kind, reason, line::jsonb ->> 'interaction_id' FROM quarantine ORDER BY 1, 3")
    reason = "refused by PostgreSQL: CheckViolation (23514)"
    assert [row[:2] for row in held] == [("feedback", reason), *2 * [("interaction", reason)]]
    assert [row[2] for row in held] == [NAMES[4], *NAMES[7:9]]
    assert len(list_ids(url)[0]) == 48
    assert len(list_ids(url)[1]) == 5


def test_rows_wait_for_a_database_that_is_read_only(url: str, tmp_path: Path) -> None:
    """As after a failover, until the new primary is found: no fault of the rows."""
    name = url.rpartition("/")[2]

    def set_read_only(value: str) -> None:
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute("SET default_transaction_read_only = off")
            connection.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = {value}".encode())

    async def run() -> None:
        log = Log(url, tmp_path)
        put_all(log, NAMES[:3])
        assert await log.store_events([event("e-1", NAMES[0])]) == ["stored"]
        assert "read-only" in (log.state.failing or "")
        await asyncio.to_thread(set_read_only, "off")
        await until(lambda: list_ids(url) == (NAMES[:3], ["e-1"]), what="stored")
        await log.close()

    set_read_only("on")
    asyncio.run(run())


def test_a_full_spool_sheds_the_newest_interactions_then_refuses_events(
    server: Server, url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("router.log.writer._LOOSE_BYTES", 4000)
    limit = 1 << 20

    async def run() -> None:
        log = Log(url, tmp_path, limit_bytes=limit)
        taken = []
        for number in range(3000):
            name = f"i-{number:05}"
            if log.put(record(name, response="x" * 500), "demo"):
                taken.append(name)
        assert 800 < len(taken) < 1500
        assert taken == [f"i-{number:05}" for number in range(len(taken))]  # the newest were given up
        assert log.state.shed == 3000 - len(taken)
        comment = "c" * 500  # there is room that only events may take
        number, full = 0, ""
        while not full and number < 1000:
            try:
                assert await log.store_events([event(f"e-{number:05}", taken[number], comment=comment)]) == ["stored"]
                number += 1
            except LogFullError as error:
                full = str(error)
        assert "the spool is full" in full
        assert number > 50
        assert sum(path.stat().st_size for path in tmp_path.rglob("*")) <= limit
        await asyncio.to_thread(server.start)
        events = [f"e-{n:05}" for n in range(number)]
        await until(lambda: sorted(list_ids(url)[0]) == taken and list_ids(url)[1] == events, what="all that was taken")
        await log.close()

    server.stop()
    asyncio.run(run())


@pytest.mark.parametrize("place", ["a file", "/sys/nowhere-to-write"])
def test_without_a_spool_rows_go_straight_to_the_database(url: str, tmp_path: Path, place: str) -> None:
    folder = tmp_path / place
    if not folder.is_relative_to("/sys"):
        folder.write_text("in the way")

    async def run() -> None:
        log = Log(url, folder)
        put_all(log, NAMES)
        assert "takes nothing" in (log.state.trouble or "")
        await until(lambda: sorted(list_ids(url)[0]) == NAMES, what="stored")
        assert await log.store_events([event("e-1", NAMES[0])]) == ["stored"]
        with pytest.raises(LogFullError, match="the spool takes nothing"):
            await log.store_events([event("e-2", "still being answered")])
        await log.close()

    asyncio.run(run())


def test_settled_waits_for_an_announced_row_and_for_no_other(url: str, tmp_path: Path) -> None:
    async def run() -> None:
        log = Log(url, tmp_path)
        assert await log.settled("never announced", 0.0)
        log.expect("i-1")
        assert not await log.settled("i-1", 0.01)
        put_all(log, ["i-1"])
        assert await log.settled("i-1", 10.0)
        assert list_ids(url)[0] == ["i-1"]
        log.expect("i-2")
        log.forget("i-2")
        assert await log.settled("i-2", 0.0)
        log.expect("i-3")
        assert not log.put(record("i-3", response=None), "demo")
        assert await log.settled("i-3", 0.0)
        await log.close()

    asyncio.run(run())


def test_what_cannot_be_taken_over_holds_nobody_up(url: str, tmp_path: Path) -> None:
    for kind in ("interactions", "events"):
        (tmp_path / f"{kind}-00000000000000000001-1.seg").mkdir()

    async def run() -> None:
        log = Log(url, tmp_path)
        put_all(log, NAMES[:3])
        assert await log.store_events([event("e-1", NAMES[0]), event("e-2", NAMES[5])]) == ["stored", "stored"]
        put_all(log, NAMES[3:])
        await until(lambda: list_ids(url) == (NAMES, ["e-1", "e-2"]), what="stored and replayed")
        await log.close()

    asyncio.run(run())


def test_two_logs_share_a_spool_and_an_event_finds_its_interaction_in_the_others_queue(
    server: Server, url: str, tmp_path: Path
) -> None:
    async def run() -> None:
        one, two = Log(url, tmp_path), Log(url, tmp_path)
        await asyncio.to_thread(server.stop)
        put_all(one, NAMES[:25])
        put_all(two, NAMES[25:])
        assert await two.store_events([event("e-1", NAMES[0])]) == ["stored"]
        assert await one.store_events([event("e-2", NAMES[40])]) == ["stored"]
        await asyncio.to_thread(server.start)
        await until(lambda: sorted(list_ids(url)[0]) == NAMES and len(list_ids(url)[1]) == 2, what="both")
        await one.close()
        await two.close()
        assert LogState.total([one.state, two.state]).written == 50

    asyncio.run(run())
    assert list(tmp_path.iterdir()) == []
