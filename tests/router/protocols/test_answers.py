from __future__ import annotations

from router.protocols.answers import Answer, read_plain, read_stream

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
    assert read_plain(b"[]") == Answer("", True)


def test_of_several_answers_the_first_is_read() -> None:
    first, second = (
        f'data: {{"choices":[{{"index":{index},"delta":{{"content":"{text}"}},"finish_reason":"stop"}}]}}\n\n'.encode()
        for index, text in ((0, "a"), (1, "b"))
    )
    assert read_stream(second + first + b"data: [DONE]\n\n") == Answer("a", True, "stop")
    body = b'{"choices":[{"index":1,"message":{"content":"b"}},{"index":0,"message":{"content":"a"}}]}'
    assert read_plain(body).text == "a"
