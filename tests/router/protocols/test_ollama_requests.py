"""Requests of Ollama's in OpenAI's form and back. The way back of a chat is written here, from OpenAI's reference; that
of a plain completion is the router's own other direction.
"""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.protocols import PROTOCOLS
from router.protocols.ollama.options import LOADING
from router.protocols.ollama.requests import split_generate, write_chat, write_completion, write_generate, write_raw
from router.protocols.prompts import PromptError
from router.refusals import RefusedError
from tests.router.protocols.streams import OBJECTS, TEXTS, VALUES

NUMBERS = st.floats(0, 2, allow_nan=False) | st.integers(0, 100)
OPTIONS = st.fixed_dictionaries(
    {},
    optional={
        "num_predict": st.integers(0, 4096),
        "temperature": NUMBERS,
        "top_p": NUMBERS,
        "top_k": st.integers(0, 100),
        "min_p": NUMBERS,
        "seed": st.integers(0, 2**31),
        "stop": st.lists(TEXTS, min_size=1, max_size=3),
        "repeat_penalty": NUMBERS,
        "presence_penalty": NUMBERS,
        "frequency_penalty": NUMBERS,
        "mirostat": st.integers(0, 2),
        "num_keep": st.integers(0, 9),
    },
)
FORMATS = st.sampled_from([None, "json"]) | st.builds(lambda rest: {"type": "object"} | rest, OBJECTS)
PICTURES = st.binary(min_size=4, max_size=40).map(lambda data: base64.b64encode(b"\x89PNG" + data).decode())
CALLS = st.lists(
    st.fixed_dictionaries({"function": st.fixed_dictionaries({"name": TEXTS.filter(bool), "arguments": OBJECTS})}),
    min_size=1,
    max_size=3,
)
TURNS = st.one_of(
    st.fixed_dictionaries({"role": st.just("system"), "content": TEXTS}),
    st.fixed_dictionaries({"role": st.just("user"), "content": TEXTS.filter(bool)}),
    st.fixed_dictionaries(
        {"role": st.just("user"), "content": TEXTS, "images": st.lists(PICTURES, min_size=1, max_size=2)}
    ),
    st.fixed_dictionaries({"role": st.just("assistant"), "content": TEXTS, "thinking": TEXTS.filter(bool)}),
    st.fixed_dictionaries({"role": st.just("assistant"), "content": TEXTS, "tool_calls": CALLS}),
    st.fixed_dictionaries({"role": st.just("tool"), "content": TEXTS, "tool_name": TEXTS.filter(bool)}),
)
SHARED = {
    "options": OPTIONS,
    "stream": st.booleans(),
    "user": TEXTS,
    "metadata": OBJECTS,
    "x_unknown": VALUES,
}


def read_back(body: dict[str, Any]) -> dict[str, Any]:
    """A chat of OpenAI's in Ollama's form, for what both have."""
    given: dict[str, Any] = {name: body[name] for name in ("user", "metadata", "x_unknown", "tools") if name in body}
    known = {"max_tokens": "num_predict", "n_keep": "num_keep"}
    options = {known.get(name, name): value for name, value in body.items() if known.get(name, name) in OPTIONS_NAMES}
    form = body.get("response_format")
    given["format"] = (
        None if form is None else "json" if form["type"] == "json_object" else form["json_schema"]["schema"]
    )
    given |= {"stream": body["stream"], "options": options, "messages": [read_turn(turn) for turn in body["messages"]]}
    return given


OPTIONS_NAMES = {
    "num_predict", "temperature", "top_p", "top_k", "min_p", "seed", "stop", "repeat_penalty", "presence_penalty",
    "frequency_penalty", "mirostat", "num_keep",
}  # fmt: skip


def read_turn(turn: dict[str, Any]) -> dict[str, Any]:
    content = turn["content"] or ""
    told: dict[str, Any] = {"role": turn["role"]}
    if isinstance(content, list):
        told["images"] = [p["image_url"]["url"].partition(";base64,")[2] for p in content if p["type"] == "image_url"]
        content = "".join(part["text"] for part in content if part["type"] == "text")
    told["content"] = content
    if "reasoning_content" in turn:
        told["thinking"] = turn["reasoning_content"]
    if "tool_calls" in turn:
        told["tool_calls"] = [
            {"function": {"name": call["function"]["name"], "arguments": json.loads(call["function"]["arguments"])}}
            for call in turn["tool_calls"]
        ]
    if turn["role"] == "tool":
        told["tool_name"] = turn["name"]
    return told


@given(
    st.fixed_dictionaries(
        {**SHARED, "messages": st.lists(TURNS, min_size=1, max_size=5), "format": FORMATS, "tools": st.lists(OBJECTS)}
    )
)
def test_a_chat_there_and_back_has_lost_nothing(body: dict[str, Any]) -> None:
    assert read_back(write_chat(body)) == body


@given(st.fixed_dictionaries({**SHARED, "prompt": TEXTS.filter(bool), "raw": st.just(True), "format": FORMATS}))
def test_a_raw_prompt_there_and_back_has_lost_nothing(body: dict[str, Any]) -> None:
    back = write_completion(write_raw(body))
    assert {"options": {}, "format": None} | back == {"options": {}, "format": None} | body


def test_tool_results_find_their_calls_by_name_and_then_by_order() -> None:
    call = {"function": {"name": "time", "arguments": {}}}
    other = {"id": "given", "function": {"name": "weather", "arguments": {"city": "Zürich"}}}
    messages = [
        {"role": "user", "content": "?"},
        {"role": "assistant", "content": "", "tool_calls": [call, other, call]},
        {"role": "tool", "content": "rain", "tool_name": "weather"},
        {"role": "tool", "content": "1"},
        {"role": "tool", "content": "2", "tool_name": "time"},
        {"role": "tool", "content": "3", "tool_call_id": "mine"},
    ]
    turns = write_chat({"messages": messages})["messages"]
    assert [call["id"] for call in turns[1]["tool_calls"]] == ["call_1_0", "given", "call_1_2"]
    assert turns[1]["content"] is None
    assert json.loads(turns[1]["tool_calls"][1]["function"]["arguments"]) == {"city": "Zürich"}
    assert [turn["tool_call_id"] for turn in turns[2:]] == ["given", "call_1_0", "call_1_2", "mine"]


def test_what_loads_a_model_stays_behind_in_both_ways() -> None:
    body = {"messages": [], "keep_alive": 0, "options": {"num_ctx": 8, "num_gpu": 1, "seed": 1}, "x": 1}
    chat = PROTOCOLS["/api/chat"]
    assert chat.write_own(body) == {"messages": [], "options": {"seed": 1}, "x": 1}
    assert chat.write_own({"messages": [], "options": {"seed": 1}}) is None  # the client's own bytes
    written = write_chat(body)
    assert not LOADING & set(written)
    assert "keep_alive" not in written
    assert written["seed"] == 1


def test_limits_and_switches_are_said_in_the_others_words() -> None:
    messages = [{"role": "user", "content": "?"}]
    told = write_chat({"messages": messages, "options": {"num_predict": -1, "repeat_penalty": 1.2}, "think": "low"})
    assert "max_tokens" not in told
    assert (told["repeat_penalty"], told["repetition_penalty"]) == (1.2, 1.2)
    assert (told["reasoning_effort"], told["chat_template_kwargs"]["enable_thinking"]) == ("low", True)
    assert told["stream"] is True  # Ollama streams unless told otherwise
    assert told["stream_options"] == {"include_usage": True}
    told = write_chat({"messages": messages, "think": False, "chat_template_kwargs": {"a": 1}, "logprobs": True})
    assert told["chat_template_kwargs"] == {"a": 1, "enable_thinking": False}
    assert told["logprobs"] is True
    assert write_raw({"prompt": "x", "logprobs": True, "top_logprobs": 3, "stream": False}) == {
        "prompt": "x", "logprobs": 3, "stream": False, "max_tokens": None,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("write", "body", "said"),
    [
        (write_chat, {"messages": [{"role": "user", "content": "?"}], "format": 3}, "format must be"),
        (write_chat, {"messages": [{"role": "user", "content": "?"}], "think": "hard"}, "think must be"),
        (write_chat, {"messages": [{"role": "user", "content": "?", "images": ["…"]}]}, "pictures in base64"),
        (write_chat, {"messages": [{"role": "user", "content": "?", "images": "x"}]}, "pictures in base64"),
        (write_chat, {"messages": [{"role": "assistant", "tool_calls": [{}]}]}, "function with a name"),
        (write_generate, {"prompt": "?", "suffix": "x"}, "does not support insert"),
        (write_generate, {"prompt": "?", "template": "x"}, "template cannot be changed"),
        (write_generate, {"prompt": "?", "context": [1]}, "send the turns to /api/chat"),
        (write_raw, {"prompt": "?", "system": "x"}, "raw takes the prompt as it stands, without system"),
        (write_completion, {"prompt": "?", "n": 2}, "n above 1"),
        (write_completion, {"prompt": "?", "suffix": "x"}, "suffix is not served"),
        (write_completion, {"prompt": "?", "response_format": {"type": "grammar"}}, "'grammar' is not known"),
    ],
)
def test_what_the_other_side_cannot_do_is_refused(write: Any, body: dict[str, Any], said: str) -> None:
    with pytest.raises((PromptError, RefusedError), match=said):
        write(body)


def test_a_prompt_is_remembered_as_the_chat_that_it_becomes() -> None:
    body = {"prompt": "Which?", "system": "Be brief.\n\nContext:\nWords."}
    query, context, history = split_generate(body)
    assert (query, context, [turn["content"] for turn in history]) == ("Which?", "Words.", ["Be brief."])
    assert split_generate({"prompt": "Which?", "system": "x", "raw": True}) == ("Which?", None, ())
    assert split_generate({"prompt": ""}) == ("", None, ())
    with pytest.raises(PromptError):
        split_generate({"prompt": ["x"]})


def test_a_plain_completion_asks_ollama_for_the_prompt_as_it_stands() -> None:
    body = {
        "model": "m",
        "prompt": ["x"],
        "max_tokens": 5,
        "stop": "a",
        "logprobs": 2,
        "stream_options": {},
        "echo": False,
    }
    assert write_completion(body) == {
        "model": "m", "prompt": "x", "raw": True, "stream": False, "logprobs": True, "top_logprobs": 2,
        "options": {"num_predict": 5, "stop": "a"},
    }  # fmt: skip
