"""The quick way of encoding a record and the long one give the same bytes, or the same refusal, for whatever comes."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from pydantic import ValidationError

from flytewheel.errors import FeedbackError
from flytewheel.feedback.logs import encode_body
from flytewheel.records import FeedbackEvent, FeedbackType, Interaction, Message
from flytewheel.spool import split_columns
from router.log import encode_event
from router.log import events as event_room
from router.log import rows as row_room
from router.log.rows import encode_interaction

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
TEXTS = st.text(st.characters() | st.sampled_from('\0\ud800\\\t\n\r"\u2028\x7f\x1f'), max_size=12)
NUMBERS = (
    st.integers() | st.integers(-(1 << 80), 1 << 80) | st.floats() | st.sampled_from([0.0, -0.0, 1e16, 1e-5, 5e-324])
)
JSON = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=12,
)
TIMES = st.datetimes(datetime(1970, 1, 2), datetime(9998, 12, 30), timezones=st.just(UTC)) | st.datetimes(
    datetime(1960, 1, 2), timezones=st.sampled_from([UTC, timezone(timedelta(hours=5, minutes=30))])
)
NAMES = TEXTS | st.sampled_from(["ada", "x" * 200, "x" * 201])
METADATA = st.dictionaries(TEXTS, JSON, max_size=4)
TURNS = st.lists(
    st.builds(lambda role, text: {"role": role, "content": text}, st.sampled_from(["user", "tool", "robot"]), TEXTS),
    max_size=3,
)
MAYBE = st.none() | TEXTS
INTERACTIONS = st.fixed_dictionaries(
    {"interaction_id": NAMES, "user_id": NAMES, "timestamp": TIMES, "query": TEXTS, "response": TEXTS},
    optional={
        "session_id": MAYBE, "context": MAYBE, "topic": MAYBE, "history": TURNS, "completed": st.booleans(),
        "latency_ms": NUMBERS | st.none(), "propensity": st.floats(0, 1.5) | st.integers(0, 2), "metadata": METADATA,
        "a field of tomorrow": TEXTS, "model_version": MAYBE,
    },
)  # fmt: skip
EVENTS = st.fixed_dictionaries(
    {
        "event_id": NAMES, "interaction_id": NAMES, "user_id": NAMES, "timestamp": TIMES,
        "feedback_type": st.sampled_from([*map(str, FeedbackType), "shrug"]) | st.sampled_from(FeedbackType),
    },
    optional={
        "rating": st.integers(0, 6) | st.floats(0, 6) | st.booleans(), "comment": MAYBE, "corrected_response": MAYBE,
        "other_response": MAYBE, "preferred": st.sampled_from(["this", "tie", "none"]),
        "metadata": METADATA | st.dictionaries(st.sampled_from(["seconds", "count", "read_s"]), JSON, max_size=2),
    },
)  # fmt: skip


def expect(model: type[Any], fields: dict[str, Any]) -> tuple[str, str] | None:
    try:
        return encode_body(model.model_validate({key: value for key, value in fields.items() if value is not None}))
    except (ValidationError, FeedbackError, UnicodeError):  # a lone surrogate, which pydantic dumps into no key
        return None


def fields_of(**changes: Any) -> dict[str, Any]:
    return {"interaction_id": "i", "user_id": "ada", "timestamp": NOW, "query": "?", "response": "!"} | changes


def deep(levels: int) -> dict[str, Any]:
    value: Any = "x"
    for _ in range(levels):
        value = {"in": [value]}
    return {"deep": value}


@settings(max_examples=300, deadline=None)
@given(INTERACTIONS)
@example(fields_of(metadata={"n": 10**19, "f": 1e22, "z": -0.0, "s": 1e-7}))
@example(fields_of(metadata={"z": -0.0}))
@example(fields_of(metadata={"n": 10**19}))
@example(fields_of(metadata={"s": 1e-7}))
@example(fields_of(metadata=deep(14)))
@example(fields_of(metadata=deep(15)))
@example(fields_of(metadata=deep(16)))
@example(fields_of(metadata={"literal": "\\u0000"}))
@example(fields_of(metadata={"": {"\ud800": None}}))
@example(fields_of(metadata={"nul": "a\0b"}))
@example(fields_of(history=[Message(role="system", content="s")], latency_ms=0.0, propensity=1.0))
@example(fields_of(completed=None, history=None, metadata=None))
def test_an_interaction_is_encoded_as_the_feedback_store_does(fields: dict[str, Any]) -> None:
    expected = expect(Interaction, fields)
    try:
        line = encode_interaction(fields, "de\tmo\\n")
    except FeedbackError:
        assert expected is None
        return
    assert expected is not None
    name, source, user, when, body, digest = split_columns(line)
    assert (body.decode(), digest.decode()) == expected
    told = (name.decode(), source.decode(), user.decode(), datetime.fromisoformat(when.decode()))
    assert told == (fields["interaction_id"], "de\tmo\\n", fields["user_id"], fields["timestamp"])
    assert b"\n" not in line


@settings(max_examples=300, deadline=None)
@given(EVENTS)
def test_an_event_is_encoded_as_the_feedback_store_does(fields: dict[str, Any]) -> None:
    expected = expect(FeedbackEvent, fields)
    try:
        row = encode_event(fields, proven=True)
    except FeedbackError:
        assert expected is None
        return
    assert expected is not None
    assert (row.body.decode(), row.digest) == expected
    assert json.loads(row.metadata) == json.loads(row.body)["metadata"]
    when, back = event_room.read_spool_line(event_room.spool_line(row))
    assert back == replace(row, timestamp=back.timestamp)
    assert back.timestamp == row.timestamp
    assert when > 0


def test_what_people_say_takes_the_quick_way(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else the property above would compare the long way with itself."""

    def refuse(*given: Any) -> Any:
        raise AssertionError("the long way was taken")

    monkeypatch.setattr(row_room, "encode_slowly", refuse)
    monkeypatch.setattr(event_room, "encode_slowly", refuse)
    turn = fields_of(
        query="Wie \"spät\"\n ist es? 🙂\\",
        history=[{"role": "user", "content": "\t"}, Message(role="tool", content="")],
        context="c", latency_ms=12.5, propensity=0.1, completed=False, topic=None,
        metadata={"first_token_ms": 3.25, "stream": True, "tokens": {"prompt": 7}, "list": [1, None, -2.5]},
    )  # fmt: skip
    encode_interaction(turn, "demo")
    with pytest.raises(AssertionError):
        encode_interaction(fields_of(metadata={"n": 1e300}), "demo")
    event = {"event_id": "e", "interaction_id": "i", "user_id": "ada", "timestamp": NOW}
    for kind in ("thumbs_up", FeedbackType.COPIED, "follow_up"):
        encode_event(event | {"feedback_type": kind, "comment": "so-so", "metadata": {"tier": "free"}})
    encode_event(event | {"feedback_type": "rating", "rating": 4})
    encode_event(event | {"feedback_type": "read_time", "metadata": {"read_s": 3, "expected_s": 4.5}})


def test_a_source_with_nul_is_refused() -> None:
    with pytest.raises(FeedbackError, match="NUL"):
        encode_interaction(fields_of(), "de\0mo")
