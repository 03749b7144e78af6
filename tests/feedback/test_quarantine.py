"""What is held, shown and let out, on a real PostgreSQL."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import psycopg
import pytest

from flytewheel.errors import FeedbackError
from flytewheel.feedback.quarantine import Released, hold_events, list_held, release_votes
from flytewheel.feedback.window import Window, close_window
from tests.feedback.bench import Bench, reaction, said


@pytest.fixture
def bench(database_url: str, tmp_path: Path) -> Bench:
    return Bench(database_url, tmp_path)


@pytest.fixture
def window(bench: Bench) -> Window:
    votes = [reaction(f"e{n}", "i1", user=f"u{n % 2}", comment=f"no {n}") for n in range(4)]
    bench.load([said("i1")], [*votes, "so bad", {**reaction("e9", "gone"), "comment": "\u0041"}])
    found = close_window(bench.url, "oncall", ["web"]).window
    assert found is not None
    return found


def suspect(name: str, reason: str = "burst", **more: Any) -> dict[str, Any]:
    return {"event_id": name, "interaction_id": "i1", "user_id": "u1", "reason": reason, "rule": "20 in 60 s", **more}


def test_votes_are_held_once_and_stay_stored(bench: Bench, window: Window) -> None:
    place = (window.series, window.number)
    assert hold_events(bench.url, place, [suspect("e1"), suspect("e0"), suspect("e1", "brigade")]) == 2
    assert hold_events(bench.url, place, [suspect("e1", "brigade"), suspect("e2", "brigade"), suspect("e77")]) == 1
    assert bench.ask("SELECT count(*) FROM feedback_events") == [(4,)]
    held = [each for each in list_held(bench.url) if each.kind == "vote"]
    assert [(each.id, each.reason, each.user, each.rule) for each in held] == [
        ("e2", "brigade", "u0", "20 in 60 s"),
        ("e0", "burst", "u0", "20 in 60 s"),
        ("e1", "brigade", "u1", "20 in 60 s"),
    ]  # of two reasons in one batch the first by name
    assert {each.stream for each in held} == {"oncall/web window 1"}
    assert held[0].text == "thumbs_up: no 2"
    assert bench.store.stats().quarantined["vote: brigade"] == 2


def test_faults_and_votes_are_listed_together_by_reason(bench: Bench, window: Window) -> None:
    hold_events(bench.url, (window.series, window.number), [suspect("e1")])
    assert sorted((each.kind, each.reason) for each in list_held(bench.url)) == [
        ("feedback", "not JSON"),
        ("feedback", "unknown interaction"),
        ("vote", "burst"),
    ]
    assert len(list_held(bench.url, limit=2)) == 2
    (fault,) = list_held(bench.url, reason="unknown interaction")
    assert (fault.user, fault.stream, fault.released_at) == ("u1", "web", None)
    assert json.loads(fault.text)["event_id"] == "e9"
    assert [each.id for each in list_held(bench.url, reason="burst")] == ["e1"]


def test_escapes_hide_nothing_from_a_redaction(bench: Bench) -> None:
    line = json.dumps(reaction("e1", "gone", comment="x")).replace('"x"', '"ann\\u0040example.org"')
    bench.load([], [line])
    (fault,) = list_held(bench.url)
    assert "ann@example.org" in fault.text


def test_events_that_the_window_does_not_know_are_passed_over(bench: Bench, window: Window) -> None:
    bench.load([said("i2")], [reaction("later", "i2")])
    bench.load([said("i3")], [reaction("other", "i3")], source="app")
    assert hold_events(bench.url, (window.series, window.number), [suspect("later"), suspect("other")]) == 0
    with pytest.raises(FeedbackError, match="no window 9 in series oncall/web"):
        hold_events(bench.url, ("oncall/web", 9), [suspect("e1")])


def test_many_votes_are_held_in_batches(bench: Bench) -> None:
    bench.load([said("i1")], [reaction(f"e{n:05d}", "i1") for n in range(12_000)])
    window = close_window(bench.url, "oncall", ["web"]).window
    assert window is not None
    rows = (suspect(f"e{n:05d}") for n in range(12_000))
    assert hold_events(bench.url, (window.series, window.number), rows) == 12_000
    assert release_votes(bench.url, user="u1") == Released(12_000, 0)


def test_votes_are_released_by_id_reason_user_and_all(bench: Bench, window: Window) -> None:
    rows = [suspect("e0"), suspect("e1"), suspect("e2", "brigade"), suspect("e3")]
    hold_events(bench.url, (window.series, window.number), rows)
    assert release_votes(bench.url) == Released(0, 0)
    assert release_votes(bench.url, ids=["e0"]) == Released(1, 0)
    assert release_votes(bench.url, ids=["e0"]) == Released(0, 1)
    assert release_votes(bench.url, reason="brigade") == Released(1, 0)
    assert release_votes(bench.url, user="u1") == Released(2, 0)  # e1 and e3
    assert release_votes(bench.url, all_=True) == Released(0, 4)
    assert all(each.released_at for each in list_held(bench.url) if each.kind == "vote")
    assert "vote: burst" not in bench.store.stats().quarantined
    assert hold_events(bench.url, (window.series, window.number), rows) == 0  # a re-run holds nobody again


def test_what_cannot_be_released_is_one_line_and_releases_nothing(bench: Bench, window: Window) -> None:
    hold_events(bench.url, (window.series, window.number), [suspect("e0")])
    fault = list_held(bench.url, reason="not JSON")[0].id
    for name, message in ((fault, "mend the line and import its log again"), ("nobody", "no vote nobody is held")):
        with pytest.raises(FeedbackError, match=message) as caught:
            release_votes(bench.url, ids=["e0", name])
        assert "\n" not in str(caught.value)
    assert release_votes(bench.url, ids=["e0"]) == Released(1, 0)


def test_an_erased_vote_is_gone_from_the_quarantine(bench: Bench, window: Window) -> None:
    hold_events(bench.url, (window.series, window.number), [suspect("e0"), suspect("e1")])
    with psycopg.connect(bench.url) as connection:
        connection.execute("DELETE FROM feedback_events WHERE event_id = 'e0'")
    assert [each.id for each in list_held(bench.url) if each.kind == "vote"] == ["e1"]
    assert release_votes(bench.url, all_=True) == Released(1, 0)
