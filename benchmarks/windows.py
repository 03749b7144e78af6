"""Windows under random interleavings of commits, late events and re-runs: nothing lost, nothing twice, the same bytes.

Each interleaving is a stream of its own in one real PostgreSQL: writers commit at once or keep up to three transactions
open across closings, some roll back; windows close meanwhile, two at a time now and then; votes are held and released;
windows are written again. At its end all is committed and closed, and every row is looked for in the files.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg

from benchmarks import Goal, report
from flytewheel.database import migrate
from flytewheel.feedback.audit import audit
from flytewheel.feedback.logs import encode_body
from flytewheel.feedback.quarantine import hold_events, release_votes
from flytewheel.feedback.store import INSERT_EVENT, INSERT_INTERACTION
from flytewheel.feedback.window import Window, close_window, write_window
from flytewheel.local import places, postgres
from flytewheel.records import FeedbackEvent, FeedbackType, Interaction

WRITERS = 4  # the first commits at once, the others keep their transactions open
STEPS = 45
NOON = datetime(2026, 11, 9, 12, tzinfo=UTC)
FILES = ("interactions.jsonl", "feedback.jsonl", "earlier_interactions.jsonl", "earlier_feedback.jsonl", "window.json")


@dataclass
class Tally:
    """What went wrong, and how much there was to go wrong."""

    lost: int = 0
    twice: int = 0
    changed: int = 0
    astray: int = 0
    seen: Counter[str] = field(default_factory=Counter)


class Interleaving:
    """One random story of a stream."""

    def __init__(self, url: str, name: str, writers: Sequence[Any], folder: Path, tally: Tally) -> None:
        self._url, self._name, self._writers, self._folder, self._tally = url, name, writers, folder, tally
        self._chance = random.Random(name)
        self._pending: list[tuple[dict[str, str], dict[str, str]]] = [({}, {}) for _ in writers]
        self._interactions: dict[str, str] = {}
        self._events: dict[str, str] = {}
        self._windows: list[Window] = []
        self._bytes: dict[int, dict[str, bytes]] = {}
        self._held: set[str] = set()
        self._released: set[str] = set()
        self._made = 0

    def play(self) -> None:
        """Plays it to its end, and looks for every row."""
        acts = {self._write: 36, self._end: 8, self._close: 6, self._hold: 5, self._release: 4, self._write_again: 1}
        for act in self._chance.choices(list(acts), weights=list(acts.values()), k=STEPS):
            act()
        for writer in range(1, WRITERS):
            self._end(writer)
        self._close()
        for window in self._windows:
            self._compare(window)
        self._look()

    def _write(self) -> None:
        writer = self._chance.randrange(WRITERS)
        interactions, events = self._pending[writer]
        visible = [*self._interactions, *interactions]
        self._made += 1
        name, when = f"{self._name}-{self._made}", NOON + timedelta(minutes=self._chance.randrange(600))
        if not visible or self._chance.random() < 0.5:
            row = Interaction(interaction_id=name, user_id="u", timestamp=when, query="Why?", response="Because.")
            body, digest = encode_body(row)
            values = {"id": name, "source": self._name, "user_id": "u", "timestamp": when, "body": body}
            self._writers[writer].execute(INSERT_INTERACTION, {**values, "digest": digest})
            interactions[name] = ""
        else:
            about = self._chance.choice(visible)
            kind = FeedbackType.THUMBS_UP
            event = FeedbackEvent(event_id=name, interaction_id=about, user_id="u", feedback_type=kind, timestamp=when)
            body, digest = encode_body(event)
            values = {"id": name, "interaction_id": about, "user_id": "u", "feedback_type": kind.value}
            self._writers[writer].execute(INSERT_EVENT, {**values, "timestamp": when, "body": body, "digest": digest})
            events[name] = about
        if writer == 0:
            self._end(0)

    def _end(self, writer: int | None = None) -> None:
        given_up = writer is None and self._chance.random() < 0.15
        writer = self._chance.randrange(1, WRITERS) if writer is None else writer
        interactions, events = self._pending[writer]
        self._pending[writer] = ({}, {})
        if given_up:
            self._writers[writer].rollback()
            return
        self._writers[writer].commit()
        self._interactions |= interactions
        self._events |= events

    def _close(self) -> None:
        def close(_: int) -> Window | None:
            return close_window(self._url, self._name, [self._name], patience_s=0).window

        if self._chance.random() < 0.2:
            with ThreadPoolExecutor(2) as pool:
                closed = list(pool.map(close, range(2)))
        else:
            closed = [close(0)]
        known = {window.number for window in self._windows}
        for window in sorted({window for window in closed if window is not None}, key=lambda window: window.number):
            if window.number not in known:
                self._windows.append(window)
                self._compare(window)

    def _write_again(self) -> None:
        if self._windows:
            self._compare(self._chance.choice(self._windows))

    def _compare(self, window: Window) -> None:
        """Writes a window; what was written of it before must come out again."""
        write_window(self._url, window, self._folder)
        found = {name: (self._folder / name).read_bytes() for name in FILES}
        self._tally.changed += self._bytes.setdefault(window.number, found) != found
        self._tally.seen["windows written"] += 1

    def _hold(self) -> None:
        if self._windows:
            window = self._windows[-1]
            votes = [name for name in self._names(window.number, "feedback") if self._chance.random() < 0.4]
            rows = [{"event_id": name, "reason": "burst", "rule": "burst"} for name in votes]
            hold_events(self._url, (window.series, window.number), rows)
            self._held.update(votes)

    def _release(self) -> None:
        votes = [name for name in sorted(self._held) if self._chance.random() < 0.5]
        if votes:
            fresh = set(votes) - self._released
            found = release_votes(self._url, ids=votes)
            self._tally.twice += found.released != len(fresh)
            self._released.update(votes)

    def _names(self, number: int, file: str) -> list[str]:
        key = "event_id" if file.endswith("feedback") else "interaction_id"
        return [json.loads(line)[key] for line in self._bytes[number][f"{file}.jsonl"].splitlines()]

    def _look(self) -> None:
        tally = self._tally
        interactions, events, released = Counter[str](), Counter[str](), Counter[str]()
        first_window: dict[str, int] = {}
        for window in self._windows:
            own, said = self._names(window.number, "interactions"), self._names(window.number, "feedback")
            past, past_said = (self._names(window.number, f"earlier_{kind}") for kind in ("interactions", "feedback"))
            let_out = json.loads(self._bytes[window.number]["window.json"])["released"]
            interactions.update(own)
            released.update(let_out)
            fresh = set(said) - set(let_out)
            events.update(fresh)
            tally.astray += len(set(let_out) - set(said)) + len(said) - len(set(said))
            first_window |= {name: window.number for name in (*own, *fresh)}
            about = {self._events[name] for name in said}
            tally.astray += set(past) != about - set(own)
            before = {
                name
                for name, of in self._events.items()
                if of in set(past) and first_window.get(name, window.number) < window.number
            }
            tally.astray += not (before - self._held <= set(past_said) <= before)
            tally.seen["rows brought along"] += len(past) + len(past_said)
        for counted, accepted in (
            (interactions, set(self._interactions)),
            (events, set(self._events)),
            (released, self._released),
        ):
            tally.lost += len(accepted - set(counted))
            tally.twice += sum(count - 1 for count in counted.values()) + len(set(counted) - accepted)
        tally.seen.update(
            {
                "interleavings": 1,
                "windows": len(self._windows),
                "interactions": len(self._interactions),
                "events": len(self._events),
                "votes released": len(self._released),
            }
        )


def play_many(url: str, names: Sequence[str]) -> Tally:
    """Plays an interleaving for each name, one after the other, on one database with the schema in it."""
    tally = Tally()
    with ExitStack() as cleanup:
        folder = Path(tempfile.mkdtemp(prefix="flytewheel-windows-"))
        cleanup.callback(shutil.rmtree, folder)
        writers = [cleanup.enter_context(psycopg.connect(url)) for _ in range(WRITERS)]
        for name in names:
            Interleaving(url, name, writers, folder, tally).play()
    return tally


def measure(quick: bool) -> list[Goal]:
    """1,000 interleavings (`--quick`: 100) on a PostgreSQL of its own, then the audit over all of them."""
    for url in start_database():
        tally = play_many(url, [f"story-{number}" for number in range(100 if quick else 1000)])
        audited = audit(url)
    print(", ".join(f"{count:,} {name}" for name, count in tally.seen.items()))
    for line in audited.mismatches:
        print(f"mismatch: {line}")
    return [
        Goal("rows lost", float(tally.lost), 0),
        Goal("rows twice", float(tally.twice), 0),
        Goal("windows changed when written again", float(tally.changed), 0),
        Goal("rows brought along that are missing or too many", float(tally.astray), 0),
        Goal("mismatches of the audit", float(len(audited.mismatches)), 0),
    ]


def start_database() -> Iterator[str]:
    """A PostgreSQL of its own, with the schema in it, stopped and removed at the end."""
    with ExitStack() as cleanup:
        folder = Path(tempfile.mkdtemp(prefix="flytewheel-bench-"))
        os.chmod(folder, 0o711)
        cleanup.callback(shutil.rmtree, folder, ignore_errors=True)
        data_dir = places.choose_place(folder, places.unprivileged_account())
        cleanup.callback(places.remove_place, folder)
        server, port = postgres.start(data_dir, password="bench", log=folder / "postgres.log", durable=False)
        cleanup.callback(postgres.stop, server)
        url = postgres.server_url(port, "bench", postgres.DATABASE)
        migrate(url)
        yield url


if __name__ == "__main__":
    sys.exit(report(measure, __doc__.splitlines()[0]))
