"""Rewards, told live: folded in any order as curation will score them, within milliseconds, to other processes too."""

from __future__ import annotations

import asyncio
import json
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flytewheel.feedback.rewards import rank_vote, score, score_event
from flytewheel.feedback.store import FeedbackStore
from flytewheel.recipe import FeedbackSpec, Rewards
from flytewheel.records import EXPLICIT_TYPES, FeedbackEvent, Interaction
from router.feedback.link import RewardLink, _pack
from router.feedback.rewards import Note, RewardBook, RewardHub
from tests.router.live import ADMIN, LiveRouter

NOON = datetime(2026, 11, 28, 12, tzinfo=UTC)
NOON_MS = int(NOON.timestamp() * 1000)
STREAM = {"accept": "text/event-stream"}
KINDS = ["thumbs_up", "thumbs_down", "abandonment", "follow_up", "copied", "reformulation", "citation_click"]


def event(kind: str, after_s: int, name: str) -> FeedbackEvent:
    return FeedbackEvent(
        event_id=name,
        interaction_id="i",
        user_id="u",
        feedback_type=kind,
        timestamp=NOON + timedelta(seconds=after_s),
    )


def note_of(said: FeedbackEvent, **more: Any) -> Note:
    kind = said.feedback_type
    note = Note(
        said.event_id, said.interaction_id, kind.value, score_event(said, Rewards()), kind in EXPLICIT_TYPES,
        rank_vote(kind), int(said.timestamp.timestamp() * 1_000_000), "m", "v1", "champion", None, None, NOON_MS,
    )  # fmt: skip
    return note._replace(**more)


@given(st.lists(st.tuples(st.sampled_from(KINDS), st.integers(0, 3)), min_size=1, max_size=8), st.data())
def test_a_book_says_what_curation_will_score(said: list[tuple[str, int]], data: st.DataObject) -> None:
    events = [event(kind, at, f"e{place}") for place, (kind, at) in enumerate(said)]
    book = RewardBook(0)
    for each in data.draw(st.permutations(events + events[:3])):
        total = book.add(note_of(each))
    expected = score(events, FeedbackSpec())
    assert total is not None
    assert (total.explicit, total.implicit) == (expected.explicit, pytest.approx(expected.implicit))
    assert total.total == pytest.approx(expected.total)


def test_a_book_does_not_pretend_to_know_what_it_may_have_missed() -> None:
    book = RewardBook(NOON_MS + 1, most=1)
    assert book.add(note_of(event("thumbs_up", 0, "e"))) is None
    later = note_of(event("thumbs_up", 0, "e"), given_ms=NOON_MS + 2)
    assert book.add(later) is not None
    assert book.add(later._replace(interaction_id="j", given_ms=NOON_MS + 3)) is not None
    assert book.add(later) is None  # it was forgotten for the newer one


def test_a_failing_subscriber_hurts_nobody_else() -> None:
    hub, heard = RewardHub(), []
    hub.subscribe(lambda notes: 1 / 0)  # type: ignore[arg-type,return-value]
    cancel = hub.subscribe(heard.extend)
    note = note_of(event("thumbs_up", 0, "e"))
    hub.deliver([note, note])
    hub.deliver([note])
    assert heard == [note]
    cancel()
    hub.deliver([note._replace(event_id="f")])
    assert heard == [note]


def test_notices_fit_into_what_postgresql_takes() -> None:
    notes = [note_of(event("thumbs_up", 0, f"e{number}"), interaction_id="ü" * 190) for number in range(100)]
    payloads = list(_pack("origin", [*notes, notes[0]._replace(name="x" * 9_000)]))
    assert all(len(payload.encode()) <= 8_000 for payload in payloads)
    assert sum(len(json.loads(payload)[1]) for payload in payloads) == 100


# -- from a real router


@contextmanager
def listen(router: LiveRouter, since: str | None = None, **query: str) -> Iterator[Iterator[dict[str, Any]]]:
    """The events of the stream, each with its `id` and the moment that it arrived."""
    headers = {**ADMIN, **STREAM, **({"last-event-id": since} if since else {})}
    with (
        httpx.Client(timeout=20, trust_env=False) as client,
        client.stream("GET", f"{router.url}/v1/rewards", headers=headers, params=query) as answer,
    ):
        assert answer.status_code == 200, answer.read()

        def read() -> Iterator[dict[str, Any]]:
            mark = ""
            for line in answer.iter_lines():
                if line.startswith("id: "):
                    mark = line[4:]
                if line.startswith("data: "):
                    yield {**json.loads(line[6:]), "id": mark, "arrived": time.perf_counter()}
                if line.startswith("retry: "):
                    yield {"ready": True}

        yield read()


@pytest.fixture(scope="module")
def name(router: LiveRouter) -> str:
    router.serve("rewarded", "stable")
    return "rewarded"


def rate(router: LiveRouter, answer: httpx.Response, **body: Any) -> str:
    sent = {
        "interaction_id": answer.headers["x-flytewheel-interaction"],
        "receipt": answer.headers["x-flytewheel-receipt"],
        "event_id": uuid.uuid4().hex,
        **body,
    }
    said = router.post("/v1/feedback", json=sent)
    assert said.status_code == 201, said.text
    return str(sent["event_id"])


def test_a_listener_hears_what_an_interaction_is_worth(router: LiveRouter, name: str) -> None:
    answer = router.ask(name)
    with listen(router, name=name) as stream:
        assert next(stream) == {"ready": True}
        for body, own, total in (
            ({"feedback_type": "copied"}, 0.4, {"explicit": None, "implicit": 0.4, "total": 0.4}),
            ({"feedback_type": "thumbs_down"}, -1.0, {"explicit": -1.0, "implicit": 0.4, "total": -0.6}),
            ({"feedback_type": "rating", "rating": 4}, 0.5, {"explicit": 0.5, "implicit": 0.4, "total": 0.9}),
        ):
            event_id = rate(router, answer, **body)
            heard = next(stream)
            assert (heard["event_id"], heard["reward"], heard["interaction"]) == (event_id, own, total)
            assert (heard["name"], heard["arm"]) == (name, "champion")
            assert heard["version"] == answer.headers["x-flytewheel-version"]


def test_whoever_comes_back_has_missed_nothing(router: LiveRouter, name: str) -> None:
    answers = [router.ask(name) for _ in range(3)]
    with listen(router) as stream:
        next(stream)
        rate(router, answers[0], feedback_type="thumbs_up")
        mark = next(stream)["id"]
    missed = [rate(router, answer, feedback_type="thumbs_down") for answer in answers]
    with listen(router, since=mark, name=name) as stream:
        heard = []
        for each in stream:
            if "ready" in each:
                break
            heard.append(each["event_id"])
    assert set(missed) <= set(heard)
    assert len(heard) == len(set(heard))


def test_a_stream_needs_a_key_and_a_mark(router: LiveRouter) -> None:
    assert httpx.get(f"{router.url}/v1/rewards", trust_env=False).status_code == 401
    assert router.get("/v1/rewards", headers={**ADMIN, **STREAM, "last-event-id": "x"}).status_code == 400
    assert router.get("/v1/rewards", headers=ADMIN).status_code == 406


def test_other_processes_hear_it_and_catch_up_with_what_they_missed(
    router: LiveRouter, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A link of ours beside the router's; then one whose connection is cut while events are stored."""
    monkeypatch.setattr("router.feedback.link.READ_AGAIN_S", 0.5)
    answers = [router.ask(name) for _ in range(2)]
    for answer in answers:
        router.interaction(answer.headers["x-flytewheel-interaction"])

    async def hear() -> None:
        hub = RewardHub()
        heard: dict[str, float] = {}
        hub.subscribe(lambda notes: heard.update({note.event_id: note.value for note in notes}))
        link = RewardLink(router.database_url, hub, lambda: [name])
        link.start_listening()
        await asyncio.wait_for(link.listening.wait(), 10)
        try:
            first = await asyncio.to_thread(rate, router, answers[0], feedback_type="thumbs_up")
            await _wait(lambda: first in heard)
            with psycopg.connect(router.database_url, autocommit=True) as connection:
                connection.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                    " WHERE application_name = 'flytewheel rewards' AND datname = current_database()"
                )
            second = await asyncio.to_thread(rate, router, answers[1], feedback_type="thumbs_down")
            # and what nobody sent a notice for: an import
            stored = event("copied", 0, uuid.uuid4().hex)
            await asyncio.to_thread(_store_quietly, router.database_url, name, stored)
            await _wait(lambda: {second, stored.event_id} <= set(heard))
            assert (heard[first], heard[second], heard[stored.event_id]) == (1.0, -1.0, 0.4)
        finally:
            await link.close()

    asyncio.run(hear())


def _store_quietly(url: str, name: str, said: FeedbackEvent) -> None:
    store = FeedbackStore(url)
    served = Interaction(interaction_id="i", user_id="u", timestamp=NOON, query="q", response="r")
    store.record_interaction(served, name)
    store.record_event(said)


async def _wait(condition: Any) -> None:
    deadline = time.monotonic() + 15
    while not condition():
        assert time.monotonic() < deadline, "not within 15 s"
        await asyncio.sleep(0.01)


def test_the_push_takes_milliseconds(router: LiveRouter, name: str) -> None:
    """From the request's first byte to the subscriber; benchmarks.ingest measures the 99th percentile under load."""
    answers = [router.ask(name) for _ in range(20)]
    for answer in answers:
        router.interaction(answer.headers["x-flytewheel-interaction"])
    waits = []
    with listen(router) as stream:
        next(stream)
        for answer in answers:
            begun = time.perf_counter()
            rate(router, answer, feedback_type="thumbs_up")
            waits.append(next(stream)["arrived"] - begun)
    assert sorted(waits)[len(waits) // 4] < 0.1  # beside other tests on a busy machine; nobody polls so often
