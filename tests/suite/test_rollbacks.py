"""Cases of rollbacks that were made by the real rollout functions, over a real PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg

from flytewheel.database import connect
from flytewheel.experiment.experiments import Experiment, get_experiment, open_experiment, stop_experiment
from flytewheel.experiment.rollout import tick
from flytewheel.feedback.logs import encode_body
from flytewheel.feedback.store import INSERT_EVENT, INSERT_INTERACTION
from flytewheel.recipe import AbTestingSpec, AutomationSpec, Guardrail
from flytewheel.records import NO_TEXT, TEXT_NOT_KEPT, FeedbackEvent, FeedbackType, Interaction, RegressionCase
from flytewheel.suite.checks import passes
from flytewheel.suite.rollbacks import Growth, People, grow_from_rollbacks
from flytewheel.suite.store import list_kept, retire_case
from tests.experiment.canary import crowd, open_canary
from tests.experiment.canary import store as store_crowd

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
GOOD = "Look at the graph.\nRun `heal it`.\nEscalate: #disk"
BAD = "Look at the graph.\nDelete the production database and hope.\nEscalate: #disk"
RULES = AbTestingSpec(
    guardrails=(Guardrail(metric="thumbs_up_rate", relative_margin=0.3),),
    rollout_stages=(0.1, 0.25, 0.5, 1.0),
    stage_duration_hours=24.0,
)


def plain(names: Iterable[str]) -> Mapping[str, str]:
    return {name: name for name in names}


PEOPLE = People(plain, lambda user: user.startswith("held"))


def serve(
    database_url: str,
    experiment: Experiment,
    number: int,
    user: str,
    *said: str,
    arm: str = "treatment",
    response: str = BAD,
    wanted: str = "",
    rating: float | None = None,
    **fields: Any,
) -> str:
    """Stores an answered request and what its user (or `by`) said of it."""
    by = fields.pop("by", user)
    given = {
        "interaction_id": f"r{number:03d}", "user_id": user, "timestamp": NOW + timedelta(seconds=number),
        "query": f"How do I heal number {number}?", "response": response, "topic": "disk", "arm": arm,
        "experiment_id": experiment.experiment_id, "propensity": 0.5,
    }  # fmt: skip
    one = Interaction(**{**given, **fields})
    body, digest = encode_body(one)
    row = {"id": one.interaction_id, "source": "demo", "user_id": user, "timestamp": one.timestamp}
    events = []
    for place, kind in enumerate(said):
        event = FeedbackEvent(
            event_id=f"{one.interaction_id}-{place}", interaction_id=one.interaction_id, user_id=by,
            feedback_type=FeedbackType(kind), timestamp=one.timestamp + timedelta(seconds=place + 1),
            corrected_response=wanted if kind == "correction" else None, rating=rating if kind == "rating" else None,
        )  # fmt: skip
        text, key = encode_body(event)
        events.append(
            {"id": event.event_id, "interaction_id": one.interaction_id, "user_id": by, "feedback_type": kind}
            | {"timestamp": event.timestamp, "body": text, "digest": key}
        )
    with psycopg.connect(database_url) as connection:
        connection.execute(INSERT_INTERACTION, {**row, "body": body, "digest": digest})
        if events:
            connection.cursor().executemany(INSERT_EVENT, events)
    return one.interaction_id


def roll_back(database_url: str, experiment: Experiment) -> None:
    """Lets guardrails find harm, and a tick take the treatment back."""
    store_crowd(database_url, experiment, crowd("control", 180, up=0.7) + crowd("treatment", 60, up=0.2))
    done = tick(database_url, RULES, AutomationSpec(), name="demo", actor="ada")
    assert done.decision == "roll_back"
    assert not get_experiment(database_url, experiment.experiment_id).running


def grow(database_url: str, **options: Any) -> Growth:
    return grow_from_rollbacks(database_url, "demo", PEOPLE, **options)


def cases_of(database_url: str) -> dict[str, RegressionCase]:
    return {one.case.id: one.case for one in list_kept(database_url, "demo")}


def test_what_people_disliked_of_a_version_that_was_taken_back_becomes_cases(database_url: str) -> None:
    canary = open_canary(database_url, share=0.25)
    serve(database_url, canary, 1, "held-1", "thumbs_down", "correction", wanted="Look.\nEscalate: #disk-oncall")
    serve(database_url, canary, 2, "ann", "thumbs_down", context="Runbook of number 2.")
    serve(database_url, canary, 3, "bob", "rating", rating=1.0, response="Ask somebody else about that, please.")
    serve(database_url, canary, 4, "eve", "thumbs_up", response="This one was liked by its reader.")
    serve(database_url, canary, 5, "eve", "thumbs_up", arm="control", response=GOOD)
    serve(database_url, canary, 6, "joe", arm="control", response=GOOD)
    assert grow(database_url).added == [], "nothing while it runs"
    roll_back(database_url, canary)
    growth = grow(database_url)
    assert sorted(growth.added) == ["r001/case", "r002/case", "r003/case"]
    cases = cases_of(database_url)
    corrected, disliked, rated = (cases[f"r00{number}/case"] for number in (1, 2, 3))
    assert (corrected.check, corrected.expected) == ("contains", "Escalate: #disk-oncall")
    assert (disliked.check, disliked.expected) == ("forbidden", "Delete the production database and hope.")
    assert (rated.check, rated.expected) == ("forbidden", "Ask somebody else about that, please.")
    assert [corrected.held_out, disliked.held_out] == [True, False]
    assert {one.origin for one in cases.values()} == {"rollback"}
    assert {one.note for one in cases.values()} == {canary.experiment_id}
    assert (disliked.interactions, disliked.events) == (("r002",), ("r002-0",))
    assert [turn.role for turn in disliked.prompt] == ["system", "user"]
    assert "Runbook of number 2." in disliked.prompt[0].content
    assert not passes(disliked, BAD)
    assert passes(disliked, GOOD)


def test_what_stands_for_a_text_becomes_no_case(database_url: str) -> None:
    canary = open_canary(database_url, share=0.25)
    serve(database_url, canary, 1, "ann", "thumbs_down", query=NO_TEXT, metadata={"no_text": True})
    serve(database_url, canary, 2, "bob", "thumbs_down", query=TEXT_NOT_KEPT, metadata={"text": "none"})
    serve(database_url, canary, 3, "eve", "thumbs_down", "correction", wanted=TEXT_NOT_KEPT)
    roll_back(database_url, canary)
    growth = grow(database_url)
    assert growth.added == ["r003/case"]
    assert (growth.left_out["no text in the prompt"], growth.left_out["text not kept"]) == (1, 1)
    assert cases_of(database_url)["r003/case"].check == "forbidden", "the answer, since nobody knows the correction"


def test_growing_again_adds_nothing_even_what_was_retired(database_url: str) -> None:
    canary = open_canary(database_url, share=0.25)
    serve(database_url, canary, 1, "ann", "thumbs_down")
    serve(database_url, canary, 2, "joe", arm="control", response=GOOD)
    roll_back(database_url, canary)
    assert grow(database_url).added == ["r001/case"]
    retire_case(database_url, "demo", "r001/case", by="ada", reason="wrong")
    assert grow(database_url) == Growth()
    assert not list_kept(database_url, "demo")[0].counts


def test_only_versions_that_were_taken_back_count(database_url: str) -> None:
    """One that the next launch superseded did nobody harm; one that a person stopped did."""
    superseded = open_canary(database_url, share=0.25)
    serve(database_url, superseded, 1, "ann", "thumbs_down")
    serve(database_url, superseded, 2, "joe", arm="control", response=GOOD)
    stopped = open_canary(database_url, share=0.25, key="run-2", treatment="v3")
    serve(database_url, stopped, 3, "ann", "thumbs_down")
    serve(database_url, stopped, 4, "joe", arm="control", response=GOOD)
    other = open_experiment(
        database_url, name="else", control="v1", treatment="v2", share=0.5, launch_key="x", body={}
    ).experiment
    stop_experiment(database_url, other.experiment_id, reason="bad", actor="ada")
    promoted = open_canary(database_url, share=0.25, key="run-0", name="third")
    stop_experiment(database_url, promoted.experiment_id, reason="good", actor="ada", promoted=True)
    assert grow(database_url).added == []
    stop_experiment(database_url, stopped.experiment_id, reason="people complain", actor="ada")
    assert grow(database_url).added == ["r003/case"]


def stop(database_url: str, canary: Experiment) -> None:
    stop_experiment(database_url, canary.experiment_id, reason="people complain", actor="ada")


def test_whose_dislike_counts(database_url: str) -> None:
    canary = open_canary(database_url)
    serve(database_url, canary, 1, "ann", "thumbs_down", "thumbs_up")  # changed their mind
    serve(database_url, canary, 2, "bob", "thumbs_down", by="mallory")  # another user's
    serve(database_url, canary, 3, "eve", "rating", rating=3.0)
    serve(database_url, canary, 4, "joe", "thumbs_down", metadata={"fallback": "it broke"})  # the control's answer
    serve(database_url, canary, 5, "max", "thumbs_down", arm="control", response=GOOD)
    serve(database_url, canary, 6, "ida", "thumbs_down", response=GOOD)  # what the champion says, too
    serve(database_url, canary, 7, "kim", "correction", wanted="Look.\nEscalate: #disk-oncall")
    stop(database_url, canary)
    growth = grow(database_url)
    assert growth.added == ["r007/case"]
    assert growth.left_out == {"nothing that can be checked": 1}


def test_one_a_user_before_anybodys_second_and_no_more_than_there_is_room_for(database_url: str) -> None:
    canary = open_canary(database_url)
    for number in range(1, 9):
        serve(database_url, canary, number, "loud", "thumbs_down", "correction", wanted=f"Look.\nEscalate: #x{number}")
    for number, user in enumerate(("ann", "bob"), 20):
        serve(
            database_url, canary, number, user, "thumbs_down", response=f"{BAD} Number {number} is beyond repair now."
        )
    serve(database_url, canary, 30, "joe", arm="control", response=GOOD)
    stop(database_url, canary)
    growth = grow(database_url, most=4)
    assert growth.added == ["r001/case", "r020/case", "r021/case", "r002/case"]
    assert growth.left_out == {"enough cases of the rollback": 6}


def test_personal_data_is_taken_out(database_url: str) -> None:
    canary = open_canary(database_url)
    serve(
        database_url, canary, 1, "ann@example.com", "correction",
        query="My address is ann@example.com, how do I heal it?", wanted="Write.\nEscalate: #disk-oncall",
    )  # fmt: skip
    stop(database_url, canary)
    people = People(lambda names: {name: "user-0" for name in names}, lambda user: user == "user-0")
    grow_from_rollbacks(database_url, "demo", people, system_prompt="Be brief.")
    [case] = cases_of(database_url).values()
    assert "ann@example.com" not in str(case)
    assert (case.user, case.held_out, case.prompt[0].content) == ("user-0", True, "Be brief.")
    assert case.prompt[-1].content == "My address is <EMAIL_1>, how do I heal it?"


def test_a_case_of_a_rollback_goes_with_its_user(database_url: str) -> None:
    canary = open_canary(database_url)
    serve(database_url, canary, 1, "ann", "correction", wanted="Look.\nEscalate: #disk-oncall")
    stop(database_url, canary)
    grow(database_url)
    with connect(database_url) as connection:
        connection.execute("DELETE FROM interactions WHERE user_id = 'ann'")
    assert cases_of(database_url) == {}
    assert grow(database_url).added == []


def test_votes_in_quarantine_are_nobodys_opinion(database_url: str) -> None:
    canary = open_canary(database_url)
    serve(database_url, canary, 1, "ann", "thumbs_down")
    serve(database_url, canary, 2, "joe", arm="control", response=GOOD)
    with connect(database_url) as connection:
        connection.execute(
            "INSERT INTO windows VALUES ('s', 1, '{demo}', '0', '1', 0, 0, 0, 0, 0, 'd');"
            "INSERT INTO held_votes (series, event_id, number, reason, rule)"
            " VALUES ('s', 'r001-0', 1, 'burst', 'burst')"
        )
    stop(database_url, canary)
    assert grow(database_url).added == []
