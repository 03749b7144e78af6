"""Joining reactions to answers."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

from flytewheel.curation.events import find_bursts, join_events, read_records, redact_all
from flytewheel.records import FeedbackEvent, Interaction, Message
from tests.curation.windows import at, make_event, make_interaction, write_window


def test_strays_and_strangers_are_quarantined() -> None:
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


def test_twenty_events_within_a_minute_are_a_burst() -> None:
    one = make_interaction(0)
    fast = [make_event(n, one, timestamp=at(n * 3)) for n in range(20)]  # 57 s
    slow = [make_event(n, one, timestamp=at(n * 3.2)) for n in range(20)]  # 60.8 s
    assert len(find_bursts(fast)) == 20
    assert find_bursts(slow) == set()
    assert find_bursts(fast[:19]) == set()
    later = [make_event(50, one, timestamp=at(500))]
    assert find_bursts([*later, *fast]) == {event.event_id for event in fast}


def test_lines_are_read_in_any_order(tmp_path: Path) -> None:
    rows = [make_interaction(n) for n in range(5)]
    window = write_window(tmp_path, rows[::-1], [make_event(0, rows[0])])
    assert read_records(window / "interactions.jsonl", Interaction)[0] == rows
    assert len(read_records(window / "feedback.jsonl", FeedbackEvent)[0]) == 1


def test_one_person_is_one_placeholder_in_the_whole_conversation() -> None:
    one = make_interaction(
        0,
        query="mail b@example.com",
        context="owner a@example.com",
        response="asked a@example.com",
        history=(Message(role="user", content="I am b@example.com"),),
    )
    event = make_event(0, one, "correction", corrected_response="ask B@example.com instead")
    joined, _ = join_events([one], [event])
    redacted, step = redact_all(joined)
    item = redacted[0]
    assert item.interaction.query == "mail <EMAIL_1>"
    assert item.interaction.context == "owner <EMAIL_2>"
    assert item.interaction.response == "asked <EMAIL_2>"
    assert item.interaction.history[0].content == "I am <EMAIL_1>"
    assert item.events[0].corrected_response == "ask <EMAIL_1> instead"
    assert step.changed == {"EMAIL": 2}
    assert step.rows_in == step.rows_out == 1
