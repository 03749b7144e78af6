"""Imports on a real PostgreSQL: everything once, nothing lost, nothing fatal."""

from __future__ import annotations

import gzip
import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from threading import Barrier
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flytewheel.errors import DatabaseError, FeedbackError
from flytewheel.feedback.audit import audit
from flytewheel.feedback.logs import encode_body, read_log
from flytewheel.feedback.store import INSERT_EVENT, INSERT_INTERACTION, FeedbackStore, ImportReport
from flytewheel.records import FeedbackEvent, Interaction
from tests.feedback.bench import NOON, Bench, reaction, said, write


@pytest.fixture
def bench(database_url: str, tmp_path: Path) -> Bench:
    return Bench(database_url, tmp_path)


def test_import_stores_every_row_with_all_it_says(bench: Bench) -> None:
    row = said(
        "i1",
        latency_ms=12.0,
        context="runbook",
        history=[{"role": "user", "content": "hi"}],
        metadata={"big": 1e22, "a": -0.0},
    )
    event = reaction("e1", "i1", "citation_click", metadata={"count": 2, "page": "ü"})
    report = bench.load([row], [event])
    assert (report.interactions.read, report.interactions.stored) == (1, 1)
    assert (report.events.read, report.events.stored) == (1, 1)
    assert report.quarantine is None
    ((name, source, user, when, body, _),) = bench.content()[0]
    assert (name, source, user, when) == ("i1", "web", "u1", NOON)
    assert Interaction.model_validate(body) == Interaction.model_validate(row)
    [stored] = bench.content()[1]
    assert stored[:5] == ("e1", "i1", "web", "u1", "citation_click")
    assert FeedbackEvent.model_validate(stored[6]) == FeedbackEvent.model_validate(event)
    assert stored[8] == {"count": 2, "page": "ü"}


def test_import_again_stores_nothing(bench: Bench) -> None:
    rows, events = [said("i1"), said("i2"), "not json"], [reaction("e1", "i1"), reaction("e2", "gone")]
    bench.load(rows, events)
    before = bench.content(), bench.held()
    report = bench.load(rows, events)
    assert (report.interactions.stored, report.interactions.duplicates, report.interactions.read) == (0, 2, 3)
    assert (report.events.stored, report.events.duplicates, report.events.read) == (0, 1, 2)
    assert (bench.content(), bench.held()) == before
    assert len(list((bench.folder / "quarantine").iterdir())) == 1


def test_bad_lines_are_counted_written_and_kept(bench: Bench) -> None:
    events = [
        reaction("e1", "i1"),
        "so good!",
        reaction("e2", "i1", "applause"),
        reaction("e3", "i1", user="a\x00b"),
        reaction("e4", "i1", "rating", rating=9),
        reaction("e5", "elsewhere"),
    ]
    report = bench.load([said("i1"), {**said("i2"), "timestamp": "2026-11-09T12:00:00"}], events)
    assert report.interactions.quarantined == {"naive timestamp": 1}
    assert report.events.quarantined == {
        "NUL character": 1,
        "not JSON": 1,
        "rating outside 1..5": 1,
        "unknown feedback_type": 1,
        "unknown interaction": 1,
    }
    assert (report.events.read, report.events.stored, report.events.conflicts) == (6, 1, 0)
    assert report.quarantine is not None
    lines = [json.loads(line) for line in report.quarantine.read_text().splitlines()]
    assert [(line["kind"], line["number"], line["reason"]) for line in lines] == [
        ("interaction", 2, "naive timestamp"),
        ("feedback", 2, "not JSON"),
        ("feedback", 3, "unknown feedback_type"),
        ("feedback", 4, "NUL character"),
        ("feedback", 5, "rating outside 1..5"),
        ("feedback", 6, "unknown interaction"),
    ]
    assert lines[1]["line"] == "so good!"
    assert json.loads(lines[5]["line"]) == events[5]
    assert sorted((kind, reason) for kind, reason, _ in bench.held()) == sorted(
        (line["kind"], line["reason"]) for line in lines
    )
    assert "1 stored, 0 known already, 5 quarantined" in report.describe()
    assert str(report.quarantine) in report.describe()


def test_same_id_with_another_body_is_a_conflict(bench: Bench) -> None:
    bench.load([said("i1")], [reaction("e1", "i1")])
    before = bench.content()
    report = bench.load([said("i1", response="Restart it."), said("i2")], [reaction("e1", "i1", "thumbs_down")])
    assert (report.interactions.stored, report.interactions.conflicts, report.interactions.duplicates) == (1, 1, 0)
    assert (report.events.stored, report.events.conflicts) == (0, 1)
    assert report.events.quarantined == {"conflict": 1}
    assert bench.content()[0][0] == before[0][0]
    assert bench.content()[1] == before[1]
    assert [(kind, reason) for kind, reason, _ in bench.held()] == [
        ("feedback", "conflict"),
        ("interaction", "conflict"),
    ]


def test_conflict_within_a_file_keeps_the_first_line(bench: Bench) -> None:
    rows = [said("i1", response="first"), said("i1", response="first"), said("i1", response="second")]
    report = bench.load(rows, [reaction("e1", "i1"), reaction("e1", "i1", "thumbs_down"), reaction("e1", "gone")])
    assert (report.interactions.stored, report.interactions.duplicates, report.interactions.conflicts) == (1, 1, 1)
    assert (report.events.stored, report.events.duplicates, report.events.conflicts) == (1, 0, 2)
    assert bench.content()[0][0][4]["response"] == "first"
    assert bench.content()[1][0][4] == "thumbs_up"


def test_events_leave_the_quarantine_when_their_interaction_comes(bench: Bench) -> None:
    events = [reaction("e1", "late"), reaction("e2", "never")]
    first = bench.load([], events)
    assert first.events.quarantined == {"unknown interaction": 2}
    report = bench.load([said("late")], events)
    assert (report.events.stored, report.events.quarantined) == (1, {"unknown interaction": 1})
    assert [json.loads(line)["event_id"] for _, _, line in bench.held()] == ["e2"]
    bench.load([said("never")], [])
    final = bench.load([], events)
    assert (final.events.stored, final.events.duplicates, final.quarantine) == (1, 1, None)
    assert bench.held() == []
    assert first.quarantine is not None
    assert not first.quarantine.exists()  # the same two logs: the file says what of them is not stored


def test_rows_stay_in_their_first_stream_and_events_follow(bench: Bench) -> None:
    bench.load([said("i1"), said("i2")])
    report = bench.load([said("i1"), said("i3")], [reaction("e1", "i1"), reaction("e3", "i3", user="u9")], source="app")
    assert report.elsewhere == {"web": 1}
    assert "web (1)" in report.describe()
    assert report.other_users == 1
    assert [(row[0], row[2], row[3]) for row in bench.content()[1]] == [("e1", "web", "u1"), ("e3", "app", "u9")]


@pytest.mark.parametrize("source", ["", "a\nb", "a\x00", "x" * 201])
def test_source_needs_a_name(bench: Bench, source: str) -> None:
    with pytest.raises(FeedbackError, match="printable characters"):
        bench.load([said("i1")], source=source)


def test_unreadable_log_stores_nothing(bench: Bench) -> None:
    path = write(bench.folder / "good.jsonl", [said("i1")])
    with pytest.raises(FeedbackError, match=r"missing\.jsonl: cannot be read"):
        bench.store.import_files(path, bench.folder / "missing.jsonl", source="web", quarantine_dir=bench.folder / "q")
    assert bench.content() == ([], [])
    assert not (bench.folder / "q").exists()


def test_truncated_gzip_stores_what_came_through(bench: Bench) -> None:
    log = write(bench.folder / "cut.jsonl.gz", [said(f"i{n}", response=os.urandom(30).hex()) for n in range(2000)])
    log.write_bytes(log.read_bytes()[:-2000])
    empty = write(bench.folder / "none.jsonl", [])
    report = bench.store.import_files(log, empty, source="web", quarantine_dir=bench.folder / "q")
    assert report.interactions.quarantined == {"truncated gzip": 1}
    assert 1500 < report.interactions.stored == report.interactions.read - 1 < 2000


def test_database_that_is_away_is_one_line(tmp_path: Path) -> None:
    path = write(tmp_path / "none.jsonl", [])
    store = FeedbackStore("postgresql://nobody@127.0.0.1:9/none")
    with pytest.raises(DatabaseError, match="not reachable"):
        store.import_files(path, path, source="web", quarantine_dir=tmp_path / "q")
    assert list((tmp_path / "q").iterdir()) == []


def test_two_imports_at_once_store_every_row_once(bench: Bench) -> None:
    rows = [said(f"i{n:05d}") for n in range(3000)]
    events = [reaction(f"e{n:05d}", f"i{n:05d}") for n in range(3000)]
    first = write(bench.folder / "a.jsonl", rows), write(bench.folder / "b.jsonl", events)
    second = write(bench.folder / "c.jsonl", rows[::-1]), write(bench.folder / "d.jsonl", [*events[::-1], "bad"])
    start = Barrier(3)

    def load(logs: tuple[Path, Path]) -> ImportReport:
        start.wait(timeout=30)
        return bench.store.import_files(*logs, source="web", quarantine_dir=bench.folder / "q")

    with ThreadPoolExecutor(3) as pool:
        reports = list(pool.map(load, [first, second, second]))
    assert sum(report.interactions.stored for report in reports) == 3000
    assert sum(report.events.stored for report in reports) == 3000
    assert all(report.interactions.stored + report.interactions.duplicates == 3000 for report in reports)
    assert [len(part) for part in bench.content()] == [3000, 3000]
    assert len(bench.held()) == 1


@pytest.mark.parametrize(("body", "outcome"), [("thumbs_up", (0, 1, 0)), ("copied", (0, 0, 1))])
def test_import_meets_a_row_that_is_being_written(bench: Bench, body: str, outcome: tuple[int, int, int]) -> None:
    """The import must wait for the other writer's row, and then find the duplicate or the conflict that it is."""
    bench.load([said("i1")])
    event = FeedbackEvent.model_validate(reaction("e1", "i1", body))
    text, seen = encode_body(event)
    waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
    with ThreadPoolExecutor(1) as pool, psycopg.connect(bench.url) as other:
        values = event.model_dump() | {"id": "e1", "body": text, "digest": seen}
        other.execute(INSERT_EVENT, {key: value for key, value in values.items() if key != "metadata"})
        importing = pool.submit(bench.load, [], [reaction("e1", "i1")])
        deadline = time.monotonic() + 30
        while bench.ask(waiting) == [(0,)]:
            assert time.monotonic() < deadline
        other.commit()
        counts = importing.result(timeout=30).events
    assert (counts.stored, counts.duplicates, counts.conflicts) == outcome


def test_killed_import_stores_nothing_and_the_next_one_all(bench: Bench) -> None:
    """The child stops by itself in the middle of the second log, says so, and is killed there."""
    first = write(bench.folder / "a.jsonl", [said(f"i{n}") for n in range(3000)])
    second = write(bench.folder / "b.jsonl", [*(reaction(f"e{n}", f"i{n}") for n in range(3000)), "bad"])
    script = """
        import sys, time
        from pathlib import Path
        from flytewheel.feedback.store import FeedbackStore

        def stop(what, done, total):
            if what == "read feedback" and done == 2000:
                print("half way", flush=True)
                time.sleep(60)

        url, first, second, held = sys.argv[1:]
        logs = Path(first), Path(second)
        FeedbackStore(url).import_files(*logs, source="web", quarantine_dir=Path(held), progress=stop)
    """
    command = [
        sys.executable,
        "-c",
        textwrap.dedent(script),
        bench.url,
        str(first),
        str(second),
        str(bench.folder / "q"),
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "half way\n"
        child.send_signal(signal.SIGKILL)
    deadline = time.monotonic() + 20
    while bench.ask("SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()") != [(1,)]:
        assert time.monotonic() < deadline
    assert bench.content() == ([], [])
    assert bench.held() == []
    report = bench.store.import_files(first, second, source="web", quarantine_dir=bench.folder / "q")
    assert (report.interactions.stored, report.events.stored) == (3000, 3000)


ROWS = st.lists(
    st.tuples(st.sampled_from("abcdef"), st.sampled_from(["yes", "no"])), max_size=8, unique_by=lambda row: row[0]
)


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(ROWS, ROWS, st.randoms(use_true_random=False))
def test_content_does_not_depend_on_order_or_repetition(bench: Bench, rows: Any, events: Any, chance: Any) -> None:
    lines = [said(name, response=text) for name, text in rows]
    reactions = [reaction(f"e{name}", name, "thumbs_up" if text == "yes" else "copied") for name, text in events]
    contents = []
    for again in (lambda given: given, lambda given: [*given, *given], lambda given: chance.sample(given, len(given))):
        with psycopg.connect(bench.url) as connection:
            connection.execute("TRUNCATE interactions, feedback_events, quarantine CASCADE")
        bench.load(again(lines), again(reactions))
        contents.append((bench.content(), bench.held()))
    assert contents[0] == contents[1] == contents[2]


def test_rows_from_the_future_wait_outside(bench: Bench) -> None:
    """Up to a day ahead of the database's clock is a clock that goes wrong; what is stored already stays known."""
    [(now,)] = bench.ask("SELECT now()")
    near, far = ((now + timedelta(hours=hours)).isoformat() for hours in (23, 48))
    rows = [said("i1"), {**said("i2"), "timestamp": near}, {**said("i3"), "timestamp": far}]
    events = [{**reaction("e1", "i1"), "timestamp": far}, reaction("e3", "i3"), reaction("e2", "i2")]
    report = bench.load(rows, events)
    assert (report.interactions.stored, report.interactions.quarantined) == (2, {"timestamp in the future": 1})
    assert report.events.quarantined == {"timestamp in the future": 1, "unknown interaction": 1}
    assert (report.interactions.read, report.events.read, report.events.stored) == (3, 3, 1)
    with psycopg.connect(bench.url) as connection:  # as a router with a wrong clock would have stored it
        body, seen = encode_body(Interaction.model_validate(rows[2]))
        values = {"id": "i3", "source": "web", "user_id": "u1", "timestamp": far, "body": body, "digest": seen}
        connection.execute(INSERT_INTERACTION, values)
    again = bench.load(rows, events)
    assert (again.interactions.duplicates, again.interactions.quarantined) == (3, {})
    assert (again.events.stored, again.events.duplicates, again.events.quarantined) == (
        1,
        1,
        {"timestamp in the future": 1},
    )


def test_rows_that_name_each_other_in_a_circle_are_held(bench: Bench) -> None:
    def linked(name: str, parent: str, key: str = "parent_id") -> dict[str, Any]:
        return said(name, metadata={key: parent})

    rows = [linked("a", "b"), linked("b", "a"), linked("c", "a"), linked("d", "d", "reply_to"), linked("e", "c")]
    events = [
        {**reaction("x", "c"), "metadata": {"parent_event_id": "y"}},
        {**reaction("y", "c"), "metadata": {"parent_event_id": "x"}},
        reaction("c", "c"),  # an event by an interaction's id is no circle
        reaction("z", "z"),
    ]
    report = bench.load(rows, events)
    assert (report.interactions.stored, report.interactions.quarantined) == (2, {"cycle of ids": 3})
    assert (report.events.stored, report.events.quarantined) == (1, {"cycle of ids": 2, "unknown interaction": 1})
    assert [row[0] for row in bench.content()[0]] == ["c", "e"]
    closing = bench.load([linked("a", "e")], [])  # e → c → a, of which two are stored
    assert closing.interactions.quarantined == {"cycle of ids": 1}
    assert bench.load([said("a")], []).interactions.stored == 1


def test_a_line_of_ten_megabytes_is_counted(bench: Bench) -> None:
    report = bench.load([said("i1"), json.dumps(said("i2", response="x" * 10_000_000)), said("i3")], [])
    assert (report.interactions.read, report.interactions.stored) == (3, 2)
    assert report.interactions.quarantined == {"line over 1 MiB": 1}


GARBAGE = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=5)
    | st.sampled_from(
        ["i1", "e1", "2026-11-09T12:00:00Z", "2999-01-01T00:00:00Z", "thumbs_up", "rating", "\ud800", "\0"]
    ),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
CHANGES = st.fixed_dictionaries(
    {},
    optional={
        key: GARBAGE
        for key in (
            "interaction_id",
            "event_id",
            "user_id",
            "timestamp",
            "query",
            "response",
            "feedback_type",
            "rating",
        )
    }
    | {"metadata": GARBAGE | st.fixed_dictionaries({"parent_id": st.sampled_from(["i1", "i2", "i3", "e1", "e2"])})},
)
LINES = st.lists(
    st.tuples(
        st.sampled_from("123"), CHANGES, st.integers(0, 400), st.sampled_from([b"", b"\xff", b"{", b"\n\n", b"\0"])
    ),
    max_size=10,
)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(LINES, LINES, st.booleans(), st.integers(0, 60))
def test_every_line_is_stored_known_or_held(bench: Bench, rows: Any, events: Any, packed: bool, cut: int) -> None:
    def pack(path: Path, base: Any, lines: Any) -> Path:
        raw = b""
        for number, change, at, dirt in lines:
            line = json.dumps({**base(number), **change}).encode()
            raw += line[:at] + dirt + line[at:] + b"\n"
        if packed:
            raw = gzip.compress(raw)
            raw = raw[: max(20, len(raw) - cut)]
        path.write_bytes(raw)
        return path

    def count(path: Path) -> int:
        return sum(1 for _ in read_log(path, Interaction))

    logs = (
        pack(bench.folder / "i.log", lambda number: said(f"i{number}"), rows),
        pack(bench.folder / "e.log", lambda number: reaction(f"e{number}", f"i{number}"), events),
    )
    before = bench.ask("SELECT (SELECT count(*) FROM interactions), (SELECT count(*) FROM feedback_events)")[0]
    report = bench.store.import_files(*logs, source="web", quarantine_dir=bench.folder / "q")
    after = bench.ask("SELECT (SELECT count(*) FROM interactions), (SELECT count(*) FROM feedback_events)")[0]
    for place, counts in enumerate((report.interactions, report.events)):
        assert counts.read == count(logs[place])
        assert counts.read == counts.stored + counts.duplicates + sum(counts.quarantined.values())
        assert counts.duplicates >= 0
        assert after[place] - before[place] == counts.stored
    assert audit(bench.url).mismatches == ()
