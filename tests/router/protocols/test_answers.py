from __future__ import annotations

import orjson
from hypothesis import given
from hypothesis import strategies as st

from router.protocols.answers import (
    Answer,
    _count,
    _first_choice,
    _make_event,
    _read_event,
    read_answer,
    read_plain,
    read_stream,
)

STREAM = b"""data: {"choices":[{"delta":{"role":"assistant","content":null}}]}

data: {"choices":[{"delta":{"content":"a\\u0000"}}]}

data: {"choices":[{"delta":{"content":"b"}}]}

data: {"choices":[{"delta":{},"finish_reason":"stop"}],"timings":{"predicted_n":3}}

data: [DONE]

"""


def test_a_streams_events_are_put_together() -> None:
    assert read_stream(STREAM) == Answer("a\N{REPLACEMENT CHARACTER}b", True, "stop", {"completion_tokens": 3})


def test_a_stream_that_breaks_off_is_not_finished() -> None:
    cut = STREAM[: STREAM.index(b'"b"')]
    assert read_stream(cut) == Answer("a\N{REPLACEMENT CHARACTER}", False)
    assert not read_stream(STREAM.replace(b"data: [DONE]", b"")).finished
    assert not read_stream(STREAM + b'data: {"error":{"message":"gone"}}\n\n').finished


def test_a_plain_answer_is_read_in_both_shapes() -> None:
    chat = b'{"choices":[{"message":{"content":"x"},"finish_reason":"length"}],"usage":{"completion_tokens":1}}'
    assert read_plain(chat) == Answer("x", True, "length", {"completion_tokens": 1})
    assert read_plain(b'{"choices":[{"text":"y"}]}').text == "y"
    assert read_plain(b"<html>") == Answer("<html>", False, fault="the answer is no JSON")
    assert read_plain(b"[]") == Answer("", False, fault="the answer has no choices")
    assert read_answer("/v1/embeddings", b'{"data":[]}', streamed=False) == Answer("", True)


def test_of_several_answers_the_first_is_read() -> None:
    first, second = (
        f'data: {{"choices":[{{"index":{index},"delta":{{"content":"{text}"}},"finish_reason":"stop"}}]}}\n\n'.encode()
        for index, text in ((0, "a"), (1, "b"))
    )
    assert read_stream(second + first + b"data: [DONE]\n\n") == Answer("a", True, "stop")
    body = b'{"choices":[{"index":1,"message":{"content":"b"}},{"index":0,"message":{"content":"a"}}]}'
    assert read_plain(body).text == "a"


ODD = st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False) | st.text(max_size=4)
SAID = st.dictionaries(st.sampled_from(["content", "role", "tool_calls"]), ODD | st.lists(ODD, max_size=2), max_size=3)
CHOICE = st.dictionaries(
    st.sampled_from(["index", "delta", "message", "text", "finish_reason", "logprobs"]), ODD | SAID, max_size=5
)
COUNTS = st.dictionaries(
    st.sampled_from(["prompt_tokens", "completion_tokens", "prompt_n", "cache_n", "predicted_n"]), ODD, max_size=4
)
EVENT = st.dictionaries(
    st.sampled_from(["choices", "usage", "timings", "error", "id"]),
    ODD | COUNTS | st.lists(CHOICE | ODD, max_size=3),
    max_size=5,
)


@given(EVENT | ODD | st.lists(ODD, max_size=2))
def test_one_pass_over_an_event_finds_what_a_walk_through_all_of_it_finds(content: object) -> None:
    """The decoder by types against the reading field by field, of events as odd as a backend can make them."""
    data = orjson.dumps(content)
    quick, walked = _read_event(data), _make_event(orjson.loads(data))
    for one, other in ((quick, walked),):
        choice, same = _first_choice(one), _first_choice(other)
        assert choice.text_of(choice.delta) == same.text_of(same.delta)
        assert choice.text_of(choice.message) == same.text_of(same.message)
        assert (choice.finish_reason or None) == same.finish_reason
        assert (_count(one), bool(one.error)) == (_count(other), bool(other.error))
