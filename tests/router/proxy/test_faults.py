"""Whose fault a backend's 500 is: by the shape of its answer and its first words, never by a word somewhere in it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flytewheel.llama_server import run_server
from router.proxy.faults import is_clients_fault
from tests.router.spelling_model import write_spelling_model


def llama(message: Any, **more: Any) -> dict[str, Any]:
    return {"error": {"code": 500, "message": message, "type": "server_error", **more}}


CLIENTS = {
    "an image": llama("image input is not supported - hint: if this is unexpected, you may need to provide the mmproj"),
    "a role": llama('Failed to parse messages: Missing \'role\' in message: {"content":"x"}'),
    "a tool": llama('Failed to parse tools: Missing tool type: "x"; tools = [\n  "x"\n]'),
    "a type": llama("[json.exception.type_error.302] type must be string, but is number"),
    "too long": llama("input (700 tokens) is too large to process. increase the physical batch size"),
    "its own word": {"error": {"message": "no", "type": "invalid_request_error", "param": None, "code": None}},
    "vLLM": {"error": {"message": "no", "type": "BadRequestError", "param": None, "code": 400}},
    "vLLM, old": {"object": "error", "message": "no", "type": "BadRequestError", "param": None, "code": 400},
    "Ollama, eyes": {"error": "this model is missing data required for image input"},
    "Ollama, runner": {
        "error": "Failed to create new sequence: failed to process inputs: this model is missing data required for"
        " image input\n"
    },
    "Ollama, schema": {"error": "invalid JSON schema in format"},
    "Ollama, a turn": {
        "error": 'template: :1:52: executing "" at <{{template "the chat template takes no turn of tool here" .}}>:'
        ' template "the chat template takes no turn of tool here" not defined'
    },
    "Ollama, OpenAI's form": {
        "error": {
            "message": 'template "the conversation does not lead to an answer" not defined',
            "type": "api_error",
            "param": None,
            "code": None,
        }
    },
    "Ollama, llama.cpp's words": {"error": "Failed to parse tools: Missing tool type: 1"},
}
BACKENDS = {
    "must be": llama("tensor 'blk.0' must be contiguous"),
    "is required": {"error": {"message": "a CUDA device is required", "type": "server_error"}},
    "is not supported": {"error": {"message": "flash attention is not supported", "type": "InternalServerError"}},
    "the model's output": llama("Failed to parse input at pos 17: <tool_call>{"),
    "memory": llama("Failed to load model: out of memory"),
    "quoted": llama("worker died while it read: Failed to parse messages: x"),
    "no code": {"error": {"message": "Failed to parse messages: x", "type": "server_error"}},
    "another's type": {"error": {"message": "Failed to parse messages: x", "type": "InternalServerError", "code": 500}},
    "vLLM": {"error": {"message": "EngineCore encountered an issue", "type": "InternalServerError", "code": 500}},
    "vLLM, flat": {"object": "error", "message": "must be", "type": "InternalServerError", "code": 500},
    "Ollama": {"error": "llama runner process has terminated: CUDA error"},
    "Ollama, a template": {"error": 'template: :1:3: executing "" at <.X>: can\'t evaluate field X in type'},
    "Ollama, a word": {"error": "model requires more system memory; GPU is required"},
    "no text": llama(None),
    "a type that is none": {"error": {"type": ["invalid_request_error"], "message": "x"}},
    "a number": {"error": 1},
    "a list": [1],
}


@pytest.mark.parametrize("said", CLIENTS.values(), ids=CLIENTS)
def test_what_a_server_cannot_read_is_the_clients(said: Any) -> None:
    assert is_clients_fault(json.dumps(said).encode())


@pytest.mark.parametrize("said", BACKENDS.values(), ids=BACKENDS)
def test_every_other_500_is_the_backends(said: Any) -> None:
    assert not is_clients_fault(json.dumps(said).encode())


@given(st.binary(max_size=200) | st.text(max_size=60).map(lambda text: json.dumps({"error": text}).encode()))
def test_whatever_it_says_it_is_the_backends_and_nothing_is_raised(body: bytes) -> None:
    assert is_clients_fault(body) is False


def test_what_llama_cpp_really_says_is_known(tmp_path: Path) -> None:
    """None of its 500s to a request that it cannot read is taken for its failure."""
    bodies: list[dict[str, Any]] = [
        {"messages": [{"role": "user", "content": [{"type": kind, kind: value}]}]}
        for kind, value in (
            ("image_url", {"url": "data:image/png;base64,iVBORw0KGgo="}),
            ("input_audio", {"data": "aGk=", "format": "wav"}),
            ("video_url", {"url": "data:,"}),
        )
    ]
    bodies += [{"messages": messages} for messages in ([{"content": "x"}], [{"role": 1, "content": "x"}])]
    said = [{"role": "user", "content": "?"}]
    bodies += [{"messages": said, "tools": tools} for tools in (["x"], 1e308, [{"type": "function"}], [{"type": []}])]
    file = write_spelling_model(tmp_path / "model.gguf", "stable")
    with (
        run_server(file, alias="m", threads=1, slot_tokens=1024) as url,
        httpx.Client(base_url=url, trust_env=False, timeout=60) as client,
    ):
        answers = [client.post("/v1/chat/completions", json={"model": "m", "max_tokens": 1, **body}) for body in bodies]
    failures = [answer for answer in answers if answer.status_code >= 500]
    assert len(failures) >= 5, "it answers 400 by now: nothing is left to tell apart"
    assert [answer.text for answer in failures if not is_clients_fault(answer.content)] == []
