"""Bodies as they are read: whatever comes, an item or one line; and events whose ids and bytes are as they must be."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flytewheel.errors import FeedbackError
from flytewheel.feedback.logs import encode_body
from flytewheel.records import FeedbackEvent, FeedbackType
from router.feedback.events import make_event, make_observed
from router.feedback.wire import SCHEMAS, Item, read_item, read_items
from router.receipts import Receipt
from router.refusals import RefusedError

NOW = datetime(2026, 11, 28, 12, tzinfo=UTC)
GIVEN = Receipt("i", "ada", "m", "v1", "champion", None, None, int(NOW.timestamp() * 1000))

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
names = st.sampled_from([*Item.__struct_fields__, "events", "n", "other"])
bodies = st.one_of(
    st.binary(max_size=60),
    json_values.map(lambda value: _dump(value)),
    st.dictionaries(names, json_values, max_size=6).map(lambda value: _dump(value)),
    st.lists(st.dictionaries(names, json_values, max_size=5), max_size=4).map(lambda value: _dump({"events": value})),
)


def _dump(value: Any) -> bytes:
    try:
        return orjson.dumps(value)
    except TypeError:  # numbers beyond 64 bits
        return b'{"interaction_id":"i","feedback_type":"thumbs_up","metadata":{"n":' + b"9" * 40 + b"}}"


@given(bodies)
def test_any_body_is_read_or_refused_in_one_line(raw: bytes) -> None:
    for said in [line for item in read(raw) for line in ([item] if isinstance(item, RefusedError) else keep(item))]:
        assert str(said)
        assert "\n" not in str(said)
        assert isinstance(said, FeedbackError) or said.status in (400, 413, 422)


def read(raw: bytes) -> list[Item | RefusedError]:
    try:
        return list(read_items(raw)[1])
    except RefusedError as refused:
        return [refused]


def keep(item: Item) -> list[FeedbackError]:
    """What the item's event is refused for."""
    try:
        if item.feedback_type is not None:
            make_event(item, GIVEN, NOW)
        else:
            list(make_observed(item, GIVEN, ""))
    except FeedbackError as error:
        return [error]
    return []


@given(
    kind=st.sampled_from([kind.value for kind in FeedbackType]),
    rating=st.floats(1, 5),
    text=st.text(min_size=1, max_size=20).filter(lambda text: text.strip() and "\0" not in text),
    metadata=st.dictionaries(
        st.text(max_size=5).filter(lambda text: "\0" not in text),
        json_values.filter(lambda value: "\\u0000" not in str(_dump(value))),
        max_size=3,
    ),
    after=st.timedeltas(timedelta(0), timedelta(minutes=4)),
)
def test_an_event_is_stored_byte_for_byte_as_everywhere(
    kind: str, rating: float, text: str, metadata: dict[str, Any], after: timedelta
) -> None:
    fields: dict[str, Any] = {
        "feedback_type": kind,
        "metadata": metadata,
        "timestamp": NOW + after,
        "event_id": "e",
        "comment": text,
    }
    if kind == "rating":
        fields["rating"] = rating
    if kind in ("correction", "edit"):
        fields["corrected_response"] = text
    if kind == "duel":
        fields |= {"other_response": text, "preferred": "this"}
    record = FeedbackEvent(interaction_id="i", user_id="ada", **fields)
    try:
        body, digest = encode_body(record)
    except FeedbackError as error:
        with pytest.raises(FeedbackError, match=str(error).partition(": ")[2]):
            make_event(Item(interaction_id="i", **fields), GIVEN, NOW)
        return
    row = make_event(Item(interaction_id="i", **fields), GIVEN, NOW).row
    assert (row.body.decode(), row.digest) == (body, digest)


def test_an_id_says_what_the_event_says() -> None:
    def make(**fields: Any) -> str:
        return make_event(Item(interaction_id="i", feedback_type="thumbs_up", **fields), GIVEN, NOW).row.event_id

    at = NOW + timedelta(seconds=1)
    ids = {make(), make(comment="x"), make(metadata={"n": 9**40}), make(timestamp=at), make(event_id="mine")}
    assert len(ids) == 5
    assert make(timestamp=at) == make(timestamp=at)
    assert (
        make()
        == make_event(Item(interaction_id="i", feedback_type="thumbs_up"), GIVEN, NOW + timedelta(hours=1)).row.event_id
    )  # without a time of the client's, ours is no part of it


@pytest.mark.parametrize("depth", [30, 40, 100, 260, 400, 900, 1_100, 5_000])
def test_depth_is_refused_not_suffered(depth: int) -> None:
    deep = b'{"a":' * depth + b"1" + b"}" * depth
    raw = b'{"interaction_id":"i","feedback_type":"thumbs_up","metadata":' + deep + b"}"
    (item,) = read(raw)
    if isinstance(item, RefusedError):
        assert depth >= 900
        assert item.status in (400, 422)
    elif depth <= 30:
        make_event(item, GIVEN, NOW)
    else:
        with pytest.raises(FeedbackError, match=r"deep|encoded"):
            make_event(item, GIVEN, NOW)


def test_what_was_observed_has_one_id_and_one_time() -> None:
    raw = orjson.dumps(
        {
            "interaction_id": "i",
            "session_ms": 60_000,
            "observed": [{"n": 0, "t": 0.4, "e": "shown"}, {"n": 1, "t": 1500.9, "e": "copy"}],
        }
    )
    item = read_item(raw)
    assert isinstance(item, Item)
    one, again = (next(make_observed(item, GIVEN, None)).row for _ in range(2))
    assert one == again
    assert one.timestamp == NOW + timedelta(milliseconds=1500)


def test_the_schema_has_every_field() -> None:
    told = {name for schema in ("FeedbackReaction", "FeedbackView") for name in SCHEMAS[schema]["properties"]}
    assert told == set(Item.__struct_fields__)
    assert set(SCHEMAS["FeedbackReaction"]["properties"]["feedback_type"]["enum"]) == set(FeedbackType)
