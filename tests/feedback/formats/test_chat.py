"""Chat logs of other people: each shape becomes interactions and events, and nothing is lost or fatal."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flytewheel.feedback.formats.identity import EPOCH
from flytewheel.records import Message
from tests.feedback.formats.foreign import turn, turn_files, write


def talk(*texts: str, system: str | None = None) -> list[dict[str, Any]]:
    turns = [{"role": ("user", "assistant")[place % 2], "content": text} for place, text in enumerate(texts)]
    return [{"role": "system", "content": system}, *turns] if system else turns


ASKED = talk("The queue grows.", "Scale the workers.")


def test_conversation_with_a_rating(tmp_path: Path) -> None:
    row = {
        "id": "c1",
        "messages": talk("Hi", "Hello.", "The queue grows.", "Scale the workers.", system="Be brief."),
        "rating": 4,
        "comment": "worked",
        "user_id": "ann",
        "created": 1762689600,
        "model": "base-1",
        "metadata": {"plan": "pro", "email": "ann@example.com", "nested": {"a": 1}, "contact": "ann@example.com"},
    }
    found = turn("chat", tmp_path, row)
    [said], [event] = found.interactions, found.events
    assert (said.interaction_id, said.session_id, said.user_id) == ("c1#2", "c1", "ann")
    assert (said.query, said.response, said.model_version) == ("The queue grows.", "Scale the workers.", "base-1")
    assert said.history == (
        Message(role="system", content="Be brief."),
        Message(role="user", content="Hi"),
        Message(role="assistant", content="Hello."),
    )
    assert said.timestamp == datetime(2025, 11, 9, 12, 0, 1, tzinfo=UTC)  # the second answer, a second later
    assert said.metadata == {"plan": "pro"}
    assert (event.interaction_id, event.user_id, event.feedback_type, event.rating) == ("c1#2", "ann", "rating", 4)
    assert event.comment == "worked"
    assert found.recognised.fields["messages"] == 1
    assert found.recognised.scales == {"rating": "1 to 5"}


@pytest.mark.parametrize(
    ("vote", "kind", "rating"),
    [
        ({"rating": 5}, "rating", 5.0),
        ({"rating": "4/5"}, "rating", 4.0),
        ({"rating": "3 stars"}, "rating", 3.0),
        ({"rating": 1}, "rating", 1.0),
        ({"score": 1}, "thumbs_up", None),
        ({"score": 0}, "thumbs_down", None),
        ({"score": -1}, "thumbs_down", None),
        ({"score": 0.75}, "rating", 4.0),
        ({"score": 3}, "rating", 3.0),
        ({"score": 8}, "rating", 4.111111),
        ({"feedback": "good"}, "thumbs_up", None),
        ({"feedback": "Bad!"}, "thumbs_down", None),
        ({"feedback": {"rating": 2, "text": "too long"}}, "rating", 2.0),
        ({"feedback": {"type": "thumbs", "thumbs": "down"}}, "thumbs_down", None),
        ({"thumbs": "up"}, "thumbs_up", None),
        ({"thumbs": "👎"}, "thumbs_down", None),
        ({"label": True}, "thumbs_up", None),
        ({"label": False}, "thumbs_down", None),
        ({"liked": None, "label": "good"}, "thumbs_up", None),
        ({"feedback": "it named the wrong service"}, "follow_up", None),
    ],
)
def test_votes(tmp_path: Path, vote: dict[str, Any], kind: str, rating: float | None) -> None:
    found = turn("chat", tmp_path, {"id": "c1", "messages": ASKED, **vote})
    assert found.said() == [("c1", kind, rating)]
    assert found.faults == []


@pytest.mark.parametrize(
    "vote", [{}, {"rating": None}, {"feedback": "neutral"}, {"label": "billing"}, {"score": "n/a"}]
)
def test_row_without_a_vote_is_kept_unrated(tmp_path: Path, vote: dict[str, Any]) -> None:
    found = turn("chat", tmp_path, {"id": "c1", "messages": ASKED, **vote})
    assert [each.interaction_id for each in found.interactions] == ["c1"]
    assert (found.events, found.faults) == ([], [])
    assert found.recognised.notes["interactions without a rating"] == 1


def test_scale_is_that_of_all_values(tmp_path: Path) -> None:
    """The same 1 is the best of shares, the worst of five, and a yes beside a no."""
    for others, one in (([0.2, 0.9], 5.0), ([2, 5], 1.0), ([2, 9, 10], 1.0), ([40, 95], 1.04), ([0, 0], "thumbs_up")):
        rows = [{"id": f"c{n}", "messages": ASKED, "score": score} for n, score in enumerate([1, *others])]
        _, kind, rating = turn("chat", tmp_path, *rows).said()[0]
        assert (kind if rating is None else rating) == one
    rows = [{"id": f"c{n}", "messages": ASKED, "rating": rating} for n, rating in enumerate([1, 2, 3, 4, 5, 5, 9])]
    found = turn("chat", tmp_path, *rows)
    assert [rating for _, _, rating in found.said()] == [1, 2, 3, 4, 5, 5]
    assert found.reasons == ["rating outside 1..5"]


def test_each_rated_turn_is_an_interaction(tmp_path: Path) -> None:
    turns = talk("a?", "A.", "b?", "B.", "c?", "C.")
    turns[1]["feedback"] = {"thumbs": "up"}
    turns[3]["weight"] = 0
    turns[5] |= {"rating": 2, "correction": "D."}
    found = turn("chat", tmp_path, {"id": "c1", "messages": turns, "user": 17})
    assert [(each.interaction_id, each.query, len(each.history)) for each in found.interactions] == [
        ("c1", "a?", 0),
        ("c1#3", "c?", 4),
    ]
    assert {(each.session_id, each.user_id) for each in found.interactions} == {("c1", "web:17")}
    assert found.said() == [("c1", "thumbs_up", None), ("c1#3", "rating", 2.0), ("c1#3", "correction", None)]
    assert found.events[2].corrected_response == "D."
    times = [each.timestamp for each in found.interactions]
    assert times == sorted(times)
    assert times[0] == EPOCH


def test_tools_parts_and_nulls(tmp_path: Path) -> None:
    turns = [
        {"role": "developer", "content": "Be brief."},
        {
            "role": "user",
            "content": [{"type": "text", "text": "What is this?"}, {"type": "image_url", "image_url": {}}],
        },
        {"role": "assistant", "content": None, "tool_calls": [{"function": {"name": "look", "arguments": "{}"}}]},
        {"role": "tool", "content": "a cat", "tool_call_id": "1"},
        {"role": "assistant", "content": [{"type": "text", "text": "A cat."}]},
    ]
    [said] = turn("chat", tmp_path, {"id": "c1", "messages": turns, "thumbs": "up"}).interactions
    assert (said.query, said.response, said.context) == ("What is this?\n[image]", "A cat.", "a cat")
    assert said.history == (Message(role="system", content="Be brief."),)
    assert said.metadata == {"tools": ["look"]}


def test_request_with_its_response(tmp_path: Path) -> None:
    row = {
        "request": {"model": "m", "messages": ASKED[:1], "user": "Ann@Example.com"},
        "response": {
            "id": "chatcmpl-9",
            "created": 1762689600,
            "model": "m-2",
            "choices": [{"message": {"role": "assistant", "content": "Scale"}, "finish_reason": "length"}],
        },
        "feedback": "bad",
    }
    body = {
        "custom_id": "r2",
        "request": {"body": row["request"]},
        "response": {"body": row["response"]},
        "label": True,
    }
    found = turn("chat", tmp_path, row, body)
    first, second = found.interactions
    assert (first.interaction_id, first.query, first.response) == ("chatcmpl-9", "The queue grows.", "Scale")
    assert (first.completed, first.timestamp.year, second.interaction_id) == (False, 2025, "r2")
    assert first.user_id == second.user_id
    assert first.user_id.startswith("user-")
    assert b"xample" not in b"".join(found.logs)


@pytest.mark.parametrize(
    "row",
    [
        {"conversations": [{"from": "human", "value": "Why?"}, {"from": "gpt", "value": "So."}]},
        {"prompt": "Why?", "completion": "So."},
        {"instruction": "Why?", "input": "", "output": "So."},
        {"prompt": [{"role": "user", "content": "Why?"}], "completion": [{"role": "assistant", "content": "So."}]},
        {"messages": [{"role": "user", "content": "Why?"}], "choices": [{"message": {"content": "So."}}]},
        {"messages": [{"type": "human", "content": "Why?"}, {"type": "ai", "content": "So."}]},
        {"messages": [*talk("Why?", "So."), {"role": "user", "content": "thanks"}]},
    ],
)
def test_other_shapes(tmp_path: Path, row: dict[str, Any]) -> None:
    found = turn("chat", tmp_path, {**row, "label": True})
    assert [(each.query, each.response) for each in found.interactions] == [("Why?", "So.")]
    assert [kind for _, kind, _ in found.said()] == ["thumbs_up"]


def test_ids_are_stable_without_being_given(tmp_path: Path) -> None:
    rows = [{"messages": talk(f"q{n}?", "A."), "label": n % 2 == 0} for n in range(5)]
    first = turn("chat", tmp_path / "a", *rows)
    second = turn("chat", tmp_path / "b", *rows[::-1], rows[0])
    by_id = {each.interaction_id: each for each in first.interactions}
    assert len(by_id) == 5
    assert {each.interaction_id: each for each in second.interactions} == by_id
    assert {each.event_id: each for each in second.events} == {each.event_id: each for each in first.events}
    assert len({each.user_id for each in first.interactions}) == 5
    assert all(each.user_id.startswith("anonymous-") for each in first.interactions)
    longer = {"messages": [*rows[0]["messages"], *talk("more?", "No.")], "label": True}
    longer["messages"][1]["rating"] = 5
    grown = turn("chat", tmp_path / "c", longer).interactions
    assert grown[0] == by_id[grown[0].interaction_id]


@pytest.mark.parametrize(
    ("value", "wanted"),
    [
        (1762689600, "2025-11-09T12:00:00+00:00"),
        (1762689600.5, "2025-11-09T12:00:00.500000+00:00"),
        (1762689600000, "2025-11-09T12:00:00+00:00"),
        (1762689600000000, "2025-11-09T12:00:00+00:00"),
        (1762689600000000000, "2025-11-09T12:00:00+00:00"),
        ("1762689600", "2025-11-09T12:00:00+00:00"),
        ("2025-11-09T13:00:00+01:00", "2025-11-09T12:00:00+00:00"),
        ("2025-11-09 12:00:00", "2025-11-09T12:00:00+00:00"),
        ("2025-11-09 12:00:00 UTC", "2025-11-09T12:00:00+00:00"),
        ("20251109", "2025-11-09T00:00:00+00:00"),
        (None, "2000-01-01T00:00:00+00:00"),
    ],
)
def test_times(tmp_path: Path, value: Any, wanted: str) -> None:
    [said] = turn("chat", tmp_path, {"id": "c1", "messages": ASKED, "timestamp": value}).interactions
    assert said.timestamp == datetime.fromisoformat(wanted)


def test_time_and_user_can_be_told(tmp_path: Path) -> None:
    start = datetime(2026, 1, 1, tzinfo=UTC)
    rows = [{"session_id": "s", "messages": talk(f"{n}?", "A."), "agent": f"a{n}"} for n in range(3)]
    found = turn("chat", tmp_path, *rows, epoch=start, user_field="agent")
    assert [(each.timestamp - start).seconds for each in found.interactions] == [0, 1, 2]
    assert [each.user_id for each in found.interactions] == ["a0", "a1", "a2"]


@pytest.mark.parametrize(
    ("user", "wanted"),
    [
        ("u-17", "u-17"),
        ("3f2a9c1e-7a11-4c9b-9d55-0a1b2c3d4e5f", "3f2a9c1e-7a11-4c9b-9d55-0a1b2c3d4e5f"),
        ("auth0|5f7c8ec7c33c6c004bbafe82", "auth0|5f7c8ec7c33c6c004bbafe82"),
        (17, "web:17"),
        ("17", "web:17"),
        ("ann@example.com", "user-"),
        ("Ann Miller", "user-"),
        ("+49 151 2345678", "user-"),
        ("+491512345678", "user-"),
        ("(555) 123-4567", "user-"),
        ("555-123-4567", "user-"),
        ("192.168.7.9", "user-"),
        ({"email": "ann@example.com"}, "user-"),
        ("", "anonymous-"),
        (True, "anonymous-"),
    ],
)
def test_users(tmp_path: Path, user: Any, wanted: str) -> None:
    [said] = turn("chat", tmp_path, {"id": "c1", "messages": ASKED, "user": user}).interactions
    assert said.user_id == wanted or (wanted.endswith("-") and said.user_id.startswith(wanted))


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (b"so good!", "not JSON"),
        (b"[1]", "not an object"),
        (b'{"a": "\xff"}', "not UTF-8"),
        (b"[" * 5000, "nested too deeply"),
        ({"messages": 7, "rating": 1}, "missing messages"),
        ({"messages": ["a", "b"]}, "wrong messages"),
        ({"messages": [{"role": "wizard", "content": "a"}]}, "wrong messages"),
        ({"messages": [{"role": "user", "content": 7}]}, "wrong messages"),
        ({"messages": []}, "missing response"),
        ({"messages": ASKED[:1]}, "missing response"),
        ({"messages": [*ASKED[:1], {"role": "assistant", "content": " "}]}, "missing response"),
        ({"messages": ASKED[1:]}, "missing query"),
        ({"rating": 5}, "missing messages"),
        ({"messages": ASKED, "timestamp": "yesterday"}, "wrong timestamp"),
        ({"messages": ASKED, "timestamp": True}, "wrong timestamp"),
        ({"messages": ASKED, "timestamp": 1e30}, "wrong timestamp"),
        ({"messages": talk("a\ud83d", "b")}, "lone surrogate"),
        ({"messages": talk("a\x00", "b")}, "NUL character"),
        ({"messages": talk("a", "b" * (1 << 20))}, "line over 1 MiB"),
    ],
)
def test_faults_are_held_by_reason(tmp_path: Path, row: Any, reason: str) -> None:
    found = turn("chat", tmp_path, {"id": "c1", "messages": ASKED}, row, {"id": "c2", "messages": ASKED})
    assert found.reasons == [reason]
    assert [each.interaction_id for each in found.interactions] == ["c1", "c2"]
    assert found.recognised.rows == 3


def test_unknown_vote_and_bad_rating_are_held_as_events(tmp_path: Path) -> None:
    rows = [{"id": f"c{n}", "messages": ASKED, **vote} for n, vote in enumerate(({"feedback": "meh"}, {"rating": -3}))]
    found = turn("chat", tmp_path, *rows, {"id": "c2", "messages": ASKED, "rating": float("nan")})
    assert found.reasons == ["unknown feedback_type", "rating outside 1..5"]
    assert len(found.interactions) == 3


def test_held_row_keeps_no_address(tmp_path: Path) -> None:
    found = turn("chat", tmp_path, {"user": "ann@example.com", "messages": "x"}, b'{"user": "bob@example.com"')
    assert "example.com" not in str(found.faults)
    assert json.loads(found.faults[0][1])["user"].startswith("user-")


@pytest.mark.parametrize("name", ["log.json", "log.json.gz", "log.jsonl.gz", "log.ndjson"])
def test_kinds_of_files(tmp_path: Path, name: str) -> None:
    rows = [{"id": f"c{n}", "messages": talk(f'{n} [{{"\\', "x" * 9000)} for n in range(40)]
    found = turn("chat", tmp_path, *rows, name=name)
    assert [each.interaction_id for each in found.interactions] == [f"c{n}" for n in range(40)]
    assert found.faults == []


def test_broken_array_goes_on_behind_the_fault(tmp_path: Path) -> None:
    rows: list[Any] = [{"id": f"c{n}", "messages": ASKED} for n in range(9)]
    rows[4] = b'{"id": oops, "messages": []}'
    found = turn("chat", tmp_path, *rows, name="log.json")
    assert [each.interaction_id for each in found.interactions] == [f"c{n}" for n in range(9) if n != 4]
    assert found.reasons == ["not JSON"]
    path = tmp_path / "cut.json"
    path.write_bytes((tmp_path / "log.json").read_bytes()[:-30])
    (tmp_path / "log.json").unlink()
    found = turn_files("chat", tmp_path, path)
    assert [each.interaction_id for each in found.interactions] == [f"c{n}" for n in range(8) if n != 4]
    assert found.reasons == ["not JSON", "not JSON"]


def test_one_object_a_page_and_lines_in_json(tmp_path: Path) -> None:
    rows = [{"id": f"c{n}", "messages": ASKED} for n in range(3)]
    (tmp_path / "one.json").write_text(json.dumps(rows[0], indent=2))
    (tmp_path / "page.json").write_text(json.dumps({"data": rows, "meta": {"page": 1}}, indent=2))
    write(tmp_path / "lines.jsonl", rows).rename(tmp_path / "lines.json")
    for name, count in (("one", 1), ("page", 3), ("lines", 3)):
        (tmp_path / name).mkdir()
        found = turn_files("chat", tmp_path / name, tmp_path / f"{name}.json")
        assert len(found.interactions) == count
        assert found.faults == []


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
FIELDS = ("id", "messages", "rating", "feedback", "score", "user", "timestamp", "request", "response", "choices",
          "prompt", "completion", "metadata", "session_id", "comment", "label", "correction", "context",
          "input")  # fmt: skip


@settings(deadline=None, max_examples=150)
@given(st.lists(st.dictionaries(st.sampled_from(FIELDS), ANYTHING, max_size=5), max_size=3), st.booleans())
def test_any_field_may_hold_anything(
    tmp_path_factory: pytest.TempPathFactory, rows: list[dict[str, Any]], whole: bool
) -> None:
    """No row is fatal, and each of them is an interaction or a fault."""
    given = [{"messages": ASKED, **row} if whole else row for row in rows]
    found = turn("chat", tmp_path_factory.mktemp("any"), *given)
    lines = len(found.logs[0].splitlines())
    assert found.recognised.rows == len(rows)
    assert lines >= len(rows)
