"""Cases and mutes in a real PostgreSQL: kept, retired, erased with the words that they come from, muted for a while."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest

from flytewheel.database import connect
from flytewheel.errors import SuiteError
from flytewheel.feedback.quarantine import hold_events
from flytewheel.feedback.store import FeedbackStore
from flytewheel.feedback.window import close_window
from flytewheel.records import FeedbackEvent, Interaction, Message, RegressionCase, write_jsonl
from flytewheel.suite.listing import list_suite
from flytewheel.suite.mutes import list_mutes, mute_case, parse_until, read_mutes, unmute_case
from flytewheel.suite.store import (
    add_cases,
    list_kept,
    note_outcomes,
    read_outcomes,
    refuse_conflicts,
    retire_case,
)
from tests.curation.windows import make_event, make_interaction

NOW = datetime(2026, 11, 28, 12, tzinfo=UTC)


def case(name: str = "c1", **fields: Any) -> RegressionCase:
    prompt = (Message(role="user", content=f"how {name}"),)
    return RegressionCase(name, "suite", "disk", prompt, "contains", "é 你好 💡", **fields)


def import_feedback(
    database_url: str, folder: Any, rows: Sequence[Interaction], events: Sequence[FeedbackEvent]
) -> None:
    write_jsonl(folder / "i.jsonl", rows)
    write_jsonl(folder / "f.jsonl", events)
    FeedbackStore(database_url).import_files(
        folder / "i.jsonl", folder / "f.jsonl", source="oncall", quarantine_dir=folder / "q"
    )


def run_sql(database_url: str, query: str) -> list[Any]:
    with connect(database_url) as connection:
        done = connection.execute(query.encode())
        return done.fetchall() if done.description else []


def test_cases_come_back_as_they_were(database_url: str) -> None:
    cases = [case("b", samples=5, temperature=0.7, min_pass_rate=0.8, note="why"), case("a")]
    assert add_cases(database_url, "demo", cases, run_id="r1") == ["b", "a"]
    kept = list_kept(database_url, "demo")
    assert [one.case for one in kept] == sorted(cases, key=lambda one: one.id)
    assert (kept[0].run_id, kept[0].counts) == ("r1", True)
    assert list_kept(database_url, "other") == []
    assert add_cases(database_url, "demo", [replace(cases[0], expected="other")]) == [], "what is there stays"
    assert list_kept(database_url, "demo")[1].case == cases[0]
    assert add_cases(database_url, "other", cases) == ["b", "a"], "each model has its own"


def test_one_faulty_case_keeps_all_out(database_url: str) -> None:
    with pytest.raises(SuiteError, match="'bad': expected is empty"):
        add_cases(database_url, "demo", [case("a"), replace(case("bad"), expected=" ")])
    assert list_kept(database_url, "demo") == []


def test_a_case_goes_with_the_words_that_it_comes_from(database_url: str, tmp_path: Any) -> None:
    rows = [make_interaction(n, user) for n, user in enumerate(("ann", "ann", "bob"))]
    import_feedback(database_url, tmp_path, rows, [make_event(n, one) for n, one in enumerate(rows)])
    cases = [
        case(one.interaction_id, interactions=(one.interaction_id,), events=(f"e{n:05d}",))
        for n, one in enumerate(rows)
    ]
    assert len(add_cases(database_url, "demo", [*cases, case("written")])) == 4
    note_outcomes(
        database_url, "demo", "v1",
        [{"id": one.id, "outcome": "passes", "passed": 1, "samples": 1, "origin": one.origin, "check": one.check}
         for one in (replace(each, origin="correction") for each in cases)],
    )  # fmt: skip
    run_sql(database_url, "DELETE FROM feedback_events WHERE event_id = 'e00001'")
    assert [one.case.id for one in list_kept(database_url, "demo")] == ["i00000", "i00002", "written"]
    run_sql(database_url, "DELETE FROM interactions WHERE user_id = 'ann'")
    assert [one.case.id for one in list_kept(database_url, "demo")] == ["i00002", "written"]
    assert [line.id for line in list_suite(database_url, "demo", NOW)] == ["i00002", "written"]
    assert "ann" not in str(run_sql(database_url, "SELECT body FROM suite_cases"))
    assert add_cases(database_url, "demo", cases) == [], "what was erased does not come back by a late run"


def test_a_retired_case_stays_away(database_url: str) -> None:
    add_cases(database_url, "demo", [case("a"), case("b")])
    before = run_sql(database_url, "SELECT clock_timestamp()")[0][0]
    retire_case(database_url, "demo", "a", by="ada", reason="the product is gone")
    assert [one.counts for one in list_kept(database_url, "demo")] == [False, True]
    assert [one.counts for one in list_kept(database_url, "demo", as_of=before)] == [True, True]
    assert add_cases(database_url, "demo", [case("a")]) == []
    with pytest.raises(SuiteError, match="was retired by ada; give the new one another id"):
        refuse_conflicts(database_url, "demo", [case("a")])
    with pytest.raises(SuiteError, match="is there and says something else"):
        refuse_conflicts(database_url, "demo", [replace(case("b"), expected="x")])
    refuse_conflicts(database_url, "demo", [case("b"), case("new")])
    for name, match in (("a", "retired already, by ada"), ("z", "no case 'z' in the suite of demo; see")):
        with pytest.raises(SuiteError, match=match):
            retire_case(database_url, "demo", name, by="ada", reason="again")
    with pytest.raises(SuiteError, match="needs a reason"):
        retire_case(database_url, "demo", "b", by="ada", reason=" ")


def test_a_run_meets_the_suite_as_it_was_when_it_opened(database_url: str) -> None:
    add_cases(database_url, "demo", [case("a")])
    opened = run_sql(database_url, "SELECT clock_timestamp()")[0][0]
    add_cases(database_url, "demo", [case("b")])
    assert [one.case.id for one in list_kept(database_url, "demo", as_of=opened)] == ["a"]


def test_a_vote_in_quarantine_takes_its_case_along_until_it_is_released(database_url: str, tmp_path: Any) -> None:
    one = make_interaction(0)
    import_feedback(database_url, tmp_path, [one], [make_event(0, one)])
    window = close_window(database_url, "demo", ("oncall",)).window
    assert window is not None
    add_cases(database_url, "demo", [case("a", interactions=(one.interaction_id,), events=("e00000",))])
    opened = run_sql(database_url, "SELECT clock_timestamp()")[0][0]
    held = [{"event_id": "e00000", "interaction_id": one.interaction_id, "reason": "burst", "rule": "burst"}]
    hold_events(database_url, (window.series, window.number), held)
    assert [each.quarantined for each in list_kept(database_url, "demo")] == [True]
    assert [each.quarantined for each in list_kept(database_url, "demo", as_of=opened)] == [False]
    run_sql(database_url, "INSERT INTO released_votes (series, event_id) SELECT series, event_id FROM held_votes")
    assert [each.counts for each in list_kept(database_url, "demo")] == [True]


def test_the_last_outcome_is_kept(database_url: str) -> None:
    found = {"id": "a", "outcome": "fails", "passed": 1, "samples": 5, "origin": "written", "check": "exact"}
    note_outcomes(database_url, "demo", "v1", [found])
    note_outcomes(database_url, "demo", "v2", [{**found, "outcome": "passes", "passed": 5}])
    last = read_outcomes(database_url, "demo")["a"]
    assert (last.model, last.outcome, last.passed, last.samples) == ("v2", "passes", 5, 5)
    note_outcomes(database_url, "demo", "v3", [])


# ------------------------------------------------------------------------------------------------------------ mutes


@pytest.mark.parametrize(
    ("text", "until"),
    [
        ("7d", NOW + timedelta(days=7)),
        ("90d", NOW + timedelta(days=90)),
        ("12h", NOW + timedelta(hours=12)),
        ("2w", NOW + timedelta(days=14)),
        ("2026-11-28", datetime(2026, 11, 29, tzinfo=UTC)),  # through that day
        ("2026-12-24", datetime(2026, 12, 25, tzinfo=UTC)),
        ("2026-12-24T10:00:00+00:00", datetime(2026, 12, 24, 10, tzinfo=UTC)),
    ],
)
def test_ends_of_mutes(text: str, until: datetime) -> None:
    assert parse_until(text, NOW) == until


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("soon", "expected a date such as 2026-12-05, or 7d"),
        ("", "expected a date"),
        ("7", "expected a date"),
        ("-7d", "expected a date"),
        ("99999w", "90 days at most"),
        ("0d", "is over"),
        ("2026-11-27", "is over"),
        ("91d", "90 days at most; retire"),
        ("2027-11-28", "90 days at most"),
        ("2026-12-24T10:00:00", "needs its zone"),
        ("2026-13-01", "expected a date"),
    ],
)
def test_mutes_that_do_not_end_in_time_are_refused(text: str, match: str) -> None:
    with pytest.raises(SuiteError, match=match):
        parse_until(text, NOW)


def test_a_mute_ends_by_itself_or_by_hand_and_is_remembered(database_url: str) -> None:
    add_cases(database_url, "demo", [case("a"), case("b")])
    week = NOW + timedelta(days=7)
    mute_case(database_url, "demo", "a", reason="flaky", by="ada", until=week, now=NOW)
    assert read_mutes(database_url, "demo", NOW) == {"a": "flaky (until 2026-12-05 12:00 UTC, ada)"}
    assert read_mutes(database_url, "demo", week) == {}, "it counts again"
    [a, b] = list_suite(database_url, "demo", NOW)
    assert (a.state, b.state) == ("muted", "counts")
    [a, _] = list_suite(database_url, "demo", week)
    assert (a.state, a.mute_expired) == ("counts", True)
    assert a.describe_state() == "counts; mute expired 2026-12-05 12:00 (flaky)"

    mute_case(database_url, "demo", "a", reason="longer", by="bob", until=week + timedelta(days=7), now=NOW)
    assert read_mutes(database_url, "demo", week) == {"a": "longer (until 2026-12-12 12:00 UTC, bob)"}
    unmute_case(database_url, "demo", "a", by="ada", now=NOW)
    assert read_mutes(database_url, "demo", NOW) == {}
    history = [(mute.reason, mute.lifted_by) for mute in list_mutes(database_url, "demo")]
    assert history == [("longer", "ada"), ("flaky", "bob")]
    with pytest.raises(SuiteError, match="is not muted"):
        unmute_case(database_url, "demo", "a", by="ada", now=NOW)


def test_what_cannot_be_muted(database_url: str) -> None:
    add_cases(database_url, "demo", [case("a")])
    week = NOW + timedelta(days=7)

    def mute(name: str = "a", reason: str = "why", until: datetime = week) -> None:
        mute_case(database_url, "demo", name, reason=reason, by="ada", until=until, now=NOW)

    for wrong, match in (
        ({"name": "z"}, "no case 'z' in the suite of demo"),
        ({"reason": "  "}, "needs a reason"),
        ({"until": NOW}, "within 90 days"),
        ({"until": NOW + timedelta(days=92)}, "within 90 days"),
    ):
        with pytest.raises(SuiteError, match=match):
            mute(**wrong)  # type: ignore[arg-type]
    assert list_mutes(database_url, "demo") == []
    with pytest.raises(psycopg.errors.CheckViolation):
        run_sql(
            database_url,
            "INSERT INTO suite_mutes (name, case_id, reason, muted_by, muted_at, until)"
            " VALUES ('demo', 'a', 'r', 'b', now(), now())",
        )


def test_a_recipes_own_case_can_be_muted_once_it_was_asked(database_url: str) -> None:
    found = {"id": "file-1", "outcome": "fails", "passed": 0, "samples": 1, "origin": "written", "check": "exact"}
    note_outcomes(database_url, "demo", "v1", [found])
    mute_case(database_url, "demo", "file-1", reason="r", by="ada", until=NOW + timedelta(days=1), now=NOW)
    [line] = list_suite(database_url, "demo", NOW)
    assert (line.id, line.state, line.origin, line.case) == ("file-1", "muted", "written", None)
