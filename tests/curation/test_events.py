"""Reading records, joining reactions to answers, and taking personal data out of both."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from flytewheel.curation.events import Reviewed, join_events, keep_reacted, mask_names, read_records, redact_all
from flytewheel.dataset import Step
from flytewheel.errors import DatasetError
from flytewheel.records import FeedbackEvent, Interaction, Message
from tests.curation.windows import make_event, make_interaction, write_window


def read(folder: Path, *lines: bytes) -> tuple[list[Interaction], Step]:
    (folder / "interactions.jsonl").write_bytes(b"\n".join(lines))
    return read_records(folder / "interactions.jsonl", Interaction)


def write_line(**fields: Any) -> bytes:
    given = {"interaction_id": "a", "user_id": "u", "timestamp": "2026-11-09T08:00:00Z", "query": "q", "response": "r"}
    return json.dumps({**given, **fields}).encode()


def test_strays_and_strangers_do_not_count() -> None:
    one = make_interaction(0, session_id="s")
    two = make_interaction(1, session_id="s")
    events = [
        make_event(0, one),
        make_event(1, one, user_id="eve"),
        make_event(2, make_interaction(9)),
        make_event(3, two, "copied", timestamp=two.timestamp + timedelta(seconds=30)),
    ]
    joined, step = join_events([one, two], events)
    assert [[event.event_id for event in item.events] for item in joined] == [["e00000"], ["e00003"]]
    assert step.dropped == {"another user's feedback": 1, "unknown interaction": 1}
    assert [item.session_s for item in joined] == [90.0, 90.0]
    assert join_events([make_interaction(0)], [])[0][0].session_s is None


def test_silent_turns_stay_where_somebody_reacted_in_their_session() -> None:
    rows = [
        make_interaction(0, session_id="s"), make_interaction(1, session_id="s"), make_interaction(2, session_id="t"),
        make_interaction(3), make_interaction(4), make_interaction(5, "bob", session_id="s"),
    ]  # fmt: skip
    joined, _ = join_events(rows, [make_event(0, rows[0]), make_event(1, rows[3])])
    kept, step = keep_reacted(joined)
    assert [item.interaction.interaction_id for item in kept] == ["i00000", "i00001", "i00003"]
    assert step.dropped == {"no reaction": 3}


def test_two_users_may_use_one_session_id() -> None:
    rows = [make_interaction(0, "ann", session_id="s"), make_interaction(9, "bob", session_id="s")]
    assert [item.session_s for item in join_events(rows, [])[0]] == [0.0, 0.0]


def test_lines_are_read_in_any_order(tmp_path: Path) -> None:
    rows = [make_interaction(n) for n in range(5)]
    window = write_window(tmp_path, rows[::-1], [make_event(0, rows[0])])
    assert read_records(window / "interactions.jsonl", Interaction)[0] == rows
    assert len(read_records(window / "feedback.jsonl", FeedbackEvent)[0]) == 1


@pytest.mark.parametrize(
    "line",
    [
        b"{",
        b"[]",
        b"null",
        b"\xff\xfe",
        b"\x00\x00",
        write_line(user_id=5),
        write_line(query=""),
        write_line(timestamp="yesterday"),
        write_line(timestamp="2026-11-09T08:00:00"),  # of which time zone?
        write_line(latency_ms=-1),
        write_line(metadata=[]),
        write_line(interaction_id="x" * 201),
        write_line(metadata={"mean_logprob": float("nan")}),
        write_line(metadata={"mean_logprob": float("-inf")}),
        write_line(metadata={"n": 7}).replace(b"7", b"1e400"),
        write_line(query="Q").replace(b'"Q"', b'"\\ud800"'),  # half of a sign
        write_line(metadata={"deep": 0}).replace(b"0}", b"[" * 5000 + b"]" * 5000 + b"}"),
        write_line(history=[{"role": "robot", "content": "x"}]),
    ],
    ids=lambda line: line[-40:].decode(errors="replace"),
)
def test_a_bad_line_is_counted_and_fatal_to_nothing(tmp_path: Path, line: bytes) -> None:
    records, step = read(tmp_path, write_line(), line, b"", b"   ")
    assert [record.interaction_id for record in records] == ["a"]
    assert step.dropped == {"unreadable": 1}
    assert (step.rows_in, step.rows_out) == (2, 1)


def test_what_is_said_of_a_bad_line_shows_nothing_of_it(tmp_path: Path) -> None:
    """Cut short, a line may hold half of an address, which no rule recognises."""
    lines = [write_line(user_id=5, query="mail jo.doe@example.com"), b'{"query": "mail jo.doe@exa']
    _, step = read(tmp_path, *lines)
    assert step.dropped == {"unreadable": 2}
    said = " ".join(step.examples["unreadable"])
    assert "user_id: Input should be a valid string" in said
    assert "jo.doe" not in said


def test_of_two_bodies_under_one_id_the_same_one_counts_in_any_order(tmp_path: Path) -> None:
    lines = [write_line(query=text) for text in ("later", "earlier")]
    for given in (lines, lines[::-1], [*lines, lines[0]]):
        records, step = read(tmp_path, *given)
        assert [record.query for record in records] == ["earlier"]
        assert step.dropped == {"same id, other content": 1}


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="write the window again"):
        read_records(tmp_path / "none.jsonl", Interaction)


def test_one_person_is_one_placeholder_in_the_whole_conversation() -> None:
    one = make_interaction(
        0,
        query="mail b@example.com",
        context="owner a@example.com",
        response="asked a@example.com",
        history=(Message(role="user", content="I am b@example.com"),),
    )
    events = [
        make_event(0, one, "correction", corrected_response="ask B@example.com instead"),
        make_event(1, one, "duel", other_response="c@example.com", preferred="tie", comment="not a@example.com!"),
    ]
    joined, _ = join_events([one], events)
    redacted, step = redact_all(joined)
    item = redacted[0]
    assert item.interaction.query == "mail <EMAIL_1>"
    assert item.interaction.context == "owner <EMAIL_2>"
    assert item.interaction.response == "asked <EMAIL_2>"
    assert item.interaction.history[0].content == "I am <EMAIL_1>"
    assert item.events[0].corrected_response == "ask <EMAIL_1> instead"
    assert (item.events[1].other_response, item.events[1].comment) == ("<EMAIL_3>", "not <EMAIL_2>!")
    assert step.changed == {"EMAIL": 3}
    assert step.rows_in == step.rows_out == 1


def test_a_turn_keeps_its_placeholders_when_a_later_one_brings_it_as_history() -> None:
    """Else the turns of a session would not be recognised in each other, and its trajectory would mix people up."""
    first = make_interaction(0, query="I am a@example.com", response="Then ask b@example.com.")
    second = make_interaction(
        1,
        query="Or c@example.com?",
        history=(Message(role="user", content=first.query), Message(role="assistant", content=first.response)),
    )
    one, two = (item.interaction for item in redact_all([Reviewed(first, ()), Reviewed(second, ())])[0])
    assert [turn.content for turn in two.history] == [one.query, one.response]
    assert two.query == "Or <EMAIL_3>?"


def test_what_holds_nothing_comes_back_as_it_was() -> None:
    item = Reviewed(make_interaction(0, context=None), (make_event(0, make_interaction(0)),), 3.0)
    assert redact_all([item])[0] == [item]
    assert redact_all([])[0] == []


def test_a_user_id_that_is_personal_becomes_a_pseudonym_that_stays() -> None:
    names = ["user-314", "jo.doe@example.com", "3f2b9c1e-77aa-4c2e-9d55-0f6f1f2a3b4c", "+44 20 7946 0123"]
    masked = mask_names(names)
    assert masked[names[0]] == names[0]
    assert masked[names[2]] == names[2]
    assert masked["jo.doe@example.com"] == mask_names(["jo.doe@example.com"])["jo.doe@example.com"]
    assert not any(part in masked[name] for name in (names[1], names[3]) for part in ("jo", "@", "7946"))
    assert len(set(masked.values())) == 4
