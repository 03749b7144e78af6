from __future__ import annotations

import json
import re
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.protocols import PROTOCOLS, AnswerError, Translation
from router.protocols.answers import read_answer
from router.protocols.lines import LineReader
from router.protocols.ollama.writing import Clock, Counts
from tests.router.protocols.streams import (
    ANSWERS,
    OBJECTS,
    TEXTS,
    cut,
    mostly,
    pass_through,
    read_events,
    read_lines,
    write_events,
    write_lines,
)

CHAT, COMPLETIONS, GENERATE = "/v1/chat/completions", "/v1/completions", "/api/generate"
PLACES = st.lists(st.integers(0, 10_000), max_size=40)
TIMES = re.compile(rb'"(?:created_at|created|id|total_duration|prompt_eval_duration|eval_duration)":("[^"]*"|\d+),?')


def open_chat(**body: Any) -> Translation:
    body = {"messages": [{"role": "user", "content": "?"}]} | body
    return PROTOCOLS["/api/chat"].translate(body, CHAT, "flytewheel/demo:latest")


def open_generate(**body: Any) -> Translation:
    return PROTOCOLS["/api/generate"].translate({"prompt": "?", **body}, COMPLETIONS, "flytewheel/demo")


def open_completion(**body: Any) -> Translation:
    return PROTOCOLS["/v1/completions"].translate({"prompt": "?", **body}, GENERATE, "flytewheel/demo")


def choose(**choice: Any) -> dict[str, Any]:
    return {"choices": [{"index": 0, "finish_reason": None, **choice}]}


def say(text: str, **choice: Any) -> dict[str, Any]:
    return choose(delta={"content": text}, **choice)


END = choose(delta={}, finish_reason="stop")
USAGE = {"choices": [], "usage": {"prompt_tokens": 5, "completion_tokens": 7}}


@given(st.lists(TEXTS, max_size=8), PLACES, st.booleans(), st.sampled_from(["\n", "\r\n"]))
def test_a_stream_cut_anywhere_says_the_same(pieces: list[str], places: list[int], ascii_only: bool, end: str) -> None:
    """Inside a character, inside an escape, between CR and LF: the cut is never seen."""
    data = write_events([choose(delta={"role": "assistant", "content": None}), *map(say, pieces), END, USAGE],
                        ascii_only=ascii_only, end=end)  # fmt: skip
    lines = read_lines(pass_through(open_chat(), cut(data, places)))
    said = [line["message"]["content"] for line in lines]
    assert said == [piece for piece in pieces if piece] + [""]
    assert [line["done"] for line in lines] == [False] * (len(lines) - 1) + [True]
    assert (lines[-1]["done_reason"], lines[-1]["prompt_eval_count"], lines[-1]["eval_count"]) == ("stop", 5, 7)
    assert {line["model"] for line in lines} == {"flytewheel/demo:latest"}
    assert read_answer(CHAT, data, streamed=True).text == "".join(pieces).replace("\0", "\N{REPLACEMENT CHARACTER}")


@given(st.lists(TEXTS, max_size=8), PLACES, PLACES)
def test_a_plain_answer_there_and_back_has_lost_nothing(pieces: list[str], places: list[int], again: list[int]) -> None:
    """OpenAI's plain stream becomes Ollama's, and that OpenAI's again: both are the router's own directions."""
    events = [{"choices": [{"index": 0, "text": piece, "logprobs": None, "finish_reason": None}]} for piece in pieces]
    events += [{"choices": [{"index": 0, "text": "", "logprobs": None, "finish_reason": "length"}]}, USAGE]
    there = pass_through(open_generate(raw=True), cut(write_events(events), places))
    back = pass_through(open_completion(stream=True, stream_options={"include_usage": True}), cut(there, again))
    told = read_events(back)
    assert [event["choices"][0]["text"] for event in told[:-1]] == [piece for piece in pieces if piece] + [""]
    assert told[-2]["choices"][0]["finish_reason"] == "length"
    assert told[-1]["usage"] == {"prompt_tokens": 5, "completion_tokens": 7, "total_tokens": 12}
    remembered = [read_answer(GENERATE, there, streamed=True), read_answer(COMPLETIONS, back, streamed=True)]
    assert remembered[0] == remembered[1]
    assert remembered[0].finished


@given(TEXTS.filter(bool), OBJECTS, PLACES, st.lists(st.integers(1, 200), max_size=6), st.booleans())
def test_tool_calls_in_pieces_are_put_together(
    name: str, arguments: dict[str, Any], places: list[int], splits: list[int], streamed: bool
) -> None:
    told = json.dumps(arguments)
    calls = [{"id": "a", "function": {"name": name, "arguments": told}}, {"function": {"name": "g", "arguments": ""}}]
    wanted = [
        {"id": "a", "function": {"index": 0, "name": name, "arguments": arguments}},
        {"function": {"index": 1, "name": "g", "arguments": {}}},
    ]
    if not streamed:
        message = {"role": "assistant", "content": None, "tool_calls": calls}
        whole = json.loads(open_chat(stream=False).write_whole(json.dumps(choose(message=message)).encode()))
        assert (whole["message"]["tool_calls"], whole["done"]) == (wanted, True)
        return
    events = [choose(delta={"tool_calls": [{"index": 0, "id": "a", "function": {"name": name, "arguments": ""}}]})]
    for piece in cut(told.encode("ascii"), splits):
        events.append(choose(delta={"tool_calls": [{"index": 0, "function": {"arguments": piece.decode()}}]}))
    events.append(choose(delta={"tool_calls": [{"index": 1, **calls[1]}]}))
    events.append(choose(delta={}, finish_reason="tool_calls"))
    lines = read_lines(pass_through(open_chat(), cut(write_events(events), places)))
    assert [line["message"].get("tool_calls") for line in lines] == [wanted, None]
    assert lines[-1]["done_reason"] == "stop"


def test_thinking_logprobs_and_unlikely_words_come_through() -> None:
    token = {"token": "é", "logprob": -0.5, "bytes": [195, 169], "id": 7}
    logprobs = {"content": [token | {"top_logprobs": [token, token | {"token": "e"}]}]}
    events = [choose(delta={"reasoning_content": "hm"}), say("é", logprobs=logprobs), END]
    first, second, last = read_lines(pass_through(open_chat(logprobs=True, top_logprobs=1), [write_events(events)]))
    kept = {name: token[name] for name in ("token", "logprob", "bytes")}
    assert first["message"] == {"role": "assistant", "content": "", "thinking": "hm"}
    assert second["logprobs"] == [kept | {"top_logprobs": [kept]}]
    assert "logprobs" not in last
    message = {"content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}], "reasoning": "so"}
    whole = json.loads(open_chat().write_whole(json.dumps(choose(message=message, finish_reason="length")).encode()))
    assert whole["message"] == {"role": "assistant", "content": "ab", "thinking": "so"}
    assert whole["done_reason"] == "length"


def test_the_old_form_of_logprobs_is_read_too() -> None:
    logprobs = {"tokens": ["a", "b"], "token_logprobs": [-1.0, -2.0], "top_logprobs": [{"a": -1.0, "c": -3.0}]}
    answer = json.dumps(choose(text="ab", logprobs=logprobs)).encode()
    whole = json.loads(open_generate(raw=True, logprobs=True, top_logprobs=1, stream=False).write_whole(answer))
    assert (whole["response"], whole["logprobs"]) == (
        "ab",
        [{"token": "a", "logprob": -1.0, "top_logprobs": [{"token": "a", "logprob": -1.0}]},
         {"token": "b", "logprob": -2.0}],
    )  # fmt: skip


def test_a_plain_completion_is_given_logprobs_in_the_old_form() -> None:
    """Both forms are read on the way back, so what was told in the one is told in the other."""
    top = [{"token": "a", "logprob": -1.0}, {"token": "c", "logprob": -3.0}]
    tokens = [{"token": "ab", "logprob": -1.0, "top_logprobs": top}, {"token": "é", "logprob": -2.0}]
    lines = [{"response": "ab", "logprobs": tokens[:1]}, {"response": "é", "logprobs": tokens[1:]}]
    data = write_lines([*lines, {"response": "", "done": True}])
    events = read_events(pass_through(open_completion(stream=True), [data]))
    assert [event["choices"][0]["logprobs"] for event in events] == [
        {"tokens": ["ab"], "token_logprobs": [-1.0], "top_logprobs": [{"a": -1.0, "c": -3.0}], "text_offset": [0]},
        {"tokens": ["é"], "token_logprobs": [-2.0], "top_logprobs": [{}], "text_offset": [2]},
        None,
    ]
    back = open_generate(raw=True, logprobs=True, top_logprobs=2)
    told = read_lines(pass_through(back, [write_events(events)]))
    assert told[0]["logprobs"] == tokens[:1]
    assert told[1]["logprobs"] == [tokens[1] | {"top_logprobs": []}]


def test_durations_are_llama_cpps_own_or_measured() -> None:
    """Began at 10 s, first piece at 12 s, ends at 15 s."""
    now = [10.0]
    clock = Clock(lambda: now[0])
    now[0] = 12.0
    clock.note_first()
    now[0] = 15.0
    assert Counts().write(clock) == {
        "total_duration": 5_000_000_000,
        "load_duration": 0,
        "prompt_eval_duration": 2_000_000_000,
        "eval_duration": 3_000_000_000,
    }
    counts = Counts()
    counts.note({"timings": {"prompt_n": 3, "prompt_ms": 1.5, "predicted_n": 4, "predicted_ms": 2.5}, "usage": None})
    told = counts.write(clock)
    assert (told["prompt_eval_count"], told["prompt_eval_duration"]) == (3, 1_500_000)
    assert (told["eval_count"], told["eval_duration"]) == (4, 2_500_000)


def test_counts_that_can_be_none_of_tokens_are_left_out() -> None:
    """Of two near 2^63 the sum is no number that JSON is written with here."""
    most = 2**63 - 1
    event = {"choices": [], "usage": {"prompt_tokens": most, "completion_tokens": -1}}
    event |= {"timings": {"prompt_n": most, "cache_n": most, "predicted_n": True, "prompt_ms": 1e300}}
    data = write_events([say("a"), event])
    last = read_lines(pass_through(open_chat(), [data]))[-1]
    assert not {"prompt_eval_count", "eval_count"} & set(last)
    assert last["prompt_eval_duration"] < 10**12
    assert dict(read_answer(CHAT, data, streamed=True).tokens) == {}
    line = write_lines([{"response": "a", "done": True, "eval_count": most, "prompt_eval_count": -1}])
    assert dict(read_answer(GENERATE, line, streamed=True).tokens) == {}
    usage = json.loads(open_completion().write_whole(line))["usage"]
    assert usage == {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}


HOSTILE = {
    "broken JSON": (b'data: {"choices": [{]}\n\n', "not JSON"),
    "no object": (b"data: [1]\n\n", "no JSON object"),
    "text that is none": (write_events([choose(delta={"content": {"a": 1}})]), "no text"),
    "an error in the stream": (write_events([say("a"), {"error": {"message": "out of\nmemory"}}]), "out of memory"),
    "an error beside the data": (b'error: {"error": "gone"}\n\n', "gone"),
    "an error as text": (write_events([{"error": "loading"}]), "loading"),
    "no end": (write_events([say("a"), END]).replace(b"data: [DONE]\n\n", b""), "ended before"),
    "nothing": (b"", "ended before"),
    "cut in the middle": (write_events([say("abc")])[:20], "not JSON"),
    "broken arguments": (
        write_events([choose(delta={"tool_calls": [{"function": {"name": "f", "arguments": "{"}}]}), END]),
        "arguments of tool call 'f'",
    ),
    "a call without name": (write_events([choose(delta={"tool_calls": [{"function": {}}]})]), "has no name"),
    "a call that is none": (write_events([choose(delta={"tool_calls": [3]})]), "is no object"),
    "another encoding": ("data: {}".encode("utf-16"), "ended before"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_stream_is_an_error_that_says_what(name: str) -> None:
    data, said = HOSTILE[name]
    for places in ((), range(len(data))):
        with pytest.raises(AnswerError, match=said):
            pass_through(open_chat(), cut(data, places))


@given(st.binary(max_size=200), PLACES)
def test_no_bytes_at_all_do_more_than_raise(data: bytes, places: list[int]) -> None:
    for translation in (open_chat(), open_generate(raw=True), open_completion()):
        with suppress(AnswerError):
            pass_through(translation, cut(b"data: " + data, places))
        with suppress(AnswerError):
            translation.write_whole(data)
    for path in (CHAT, "/api/chat"):
        for streamed in (False, True):
            read_answer(path, data, streamed=streamed)


@given(mostly(ANSWERS))
def test_no_json_at_all_does_more_than_raise(answer: Any) -> None:
    data = json.dumps(answer).encode()
    embed = PROTOCOLS["/api/embed"].translate({"input": "x"}, "/v1/embeddings", "m")
    for translation in (open_chat(), open_generate(raw=True), open_completion(), embed):
        with suppress(AnswerError):
            json.loads(translation.write_whole(data))
    logged = open_chat(logprobs=True, top_logprobs=3)
    for translation, form in ((logged, b"data: %s\n\ndata: [DONE]\n\n"), (open_completion(), b"%s\n")):
        with suppress(AnswerError):
            list(translation.feed(form % data))
    for path in (CHAT, "/api/chat"):
        for streamed in (False, True):
            read_answer(path, b"data: " + data if streamed else data, streamed=streamed)


def test_a_giant_line_is_refused_before_it_is_whole() -> None:
    reader = LineReader(longest=100)
    assert list(reader.feed(b"a" * 100 + b"\nb")) == [b"a" * 100]
    for _ in range(9):
        assert list(reader.feed(b"b" * 11)) == []
    with pytest.raises(AnswerError, match="more than 100 bytes"):
        list(reader.feed(b"b"))


def test_what_comes_after_the_end_is_left() -> None:
    data = write_events([say("a"), END]) + b"data: {broken\n\n"
    assert read_lines(pass_through(open_chat(), [data]))[-1]["done"] is True


def test_embeddings_are_told_in_both_of_ollamas_forms() -> None:
    data = [{"index": 1, "embedding": [2.0]}, {"index": 0, "embedding": [1.0]}]
    answer = json.dumps({"data": data, "usage": {"prompt_tokens": 4}}).encode()
    embed = PROTOCOLS["/api/embed"].translate({"input": ["a", "b"], "truncate": True, "dimensions": 2}, "", "m")
    assert embed.write_request() == {"input": ["a", "b"], "dimensions": 2, "encoding_format": "float"}
    told = json.loads(embed.write_whole(answer))
    assert (told["model"], told["embeddings"], told["prompt_eval_count"]) == ("m", [[1.0], [2.0]], 4)
    old = PROTOCOLS["/api/embeddings"].translate({"prompt": "a", "options": {}}, "", "m")
    assert old.write_request() == {"input": "a", "encoding_format": "float"}
    assert json.loads(old.write_whole(answer)) == {"embedding": [1.0]}
    for wrong in (b"{}", b'{"data": []}', b'{"data": [{"embedding": "AAAA"}]}', b'{"error": "x"}', b"x"):
        with pytest.raises(AnswerError):
            embed.write_whole(wrong)


def test_ollamas_answer_that_is_none_is_an_error() -> None:
    for data in (write_lines([{"error": "no such model"}]), write_lines([{"done": True}]), b"{\n", b""):
        with pytest.raises(AnswerError):
            pass_through(open_completion(stream=True), [data])
    answer = read_answer(GENERATE, write_lines([{"response": "a"}, {"error": "x"}]), streamed=True)
    assert (answer.text, answer.finished, answer.fault) == ("a", False, "the answer says an error")
