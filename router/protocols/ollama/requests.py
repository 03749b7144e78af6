"""Ollama's requests in OpenAI's form, and OpenAI's plain completion in Ollama's.

What neither protocol knows passes under its own name. What the other side cannot do is refused with the next step: a
request that is quietly answered as another one is worse than none.
"""

from __future__ import annotations

from typing import Any

from router.protocols.ollama.messages import write_content, write_messages
from router.protocols.ollama.options import (
    read_response_format,
    write_options,
    write_parameters,
    write_response_format,
    write_thinking,
)
from router.protocols.prompts import PromptError, split_prompt
from router.protocols.protocol import NOTHING_ASKED, Body, Prompt
from router.refusals import RefusedError

_SHARED = frozenset(("model", "options", "format", "think", "stream", "logprobs", "top_logprobs", "keep_alive"))
_CHAT = _SHARED | {"messages"}
_GENERATE = _SHARED | {"prompt", "suffix", "system", "template", "context", "raw", "images"}


def split_chat(body: Body) -> Prompt:
    """What is remembered of a chat; nothing is asked where there are no messages.

    Raises:
        PromptError: it cannot be remembered.
    """
    if not body.get("messages"):
        return NOTHING_ASKED
    return split_prompt(body["messages"])


def split_generate(body: Body) -> Prompt:
    """What is remembered of a prompt; nothing is asked where it is empty.

    Raises:
        PromptError: it cannot be remembered.
    """
    prompt, system = body.get("prompt"), body.get("system")
    if not isinstance(prompt, str | None) or not isinstance(system, str | None):
        raise PromptError("prompt and system must be text")
    if not prompt and not body.get("images"):
        return NOTHING_ASKED
    turns = [{"role": "system", "content": system}] if system and not body.get("raw") else []
    return split_prompt([*turns, {"role": "user", "content": prompt or ""}])


def write_chat(body: Body) -> Body:
    """`/api/chat` as `/v1/chat/completions`.

    Raises:
        PromptError, RefusedError: the request is none, or asks what cannot be asked there.
    """
    written = {name: value for name, value in body.items() if name not in _CHAT}
    return _write_shared(body, written) | {"messages": write_messages(body["messages"])}


def write_generate(body: Body) -> Body:
    """`/api/generate` as `/v1/chat/completions`: the chat template goes around the prompt, as in Ollama.

    Raises:
        PromptError, RefusedError: as `write_chat`.
    """
    if body.get("suffix"):
        raise _refuse("suffix: this router's backend does not support insert; leave it out, or serve by Ollama")
    if body.get("template"):
        raise _refuse("template cannot be changed for a request here; render it yourself and send it with raw")
    if body.get("context"):
        raise _refuse("context (token ids of earlier turns) cannot be carried on here; send the turns to /api/chat")
    written = {name: value for name, value in body.items() if name not in _GENERATE}
    turns = [{"role": "system", "content": body["system"]}] if body.get("system") else []
    turns.append({"role": "user", "content": write_content(body.get("prompt"), body.get("images"))})
    return _write_shared(body, written) | {"messages": turns}


def write_raw(body: Body) -> Body:
    """`/api/generate` with `raw` as `/v1/completions`: the prompt goes to the model as it stands.

    Raises:
        RefusedError: as `write_chat`.
    """
    for name in ("template", "system", "context", "images", "suffix"):
        if body.get(name):
            raise _refuse(f"raw takes the prompt as it stands, without {name}")
    written = {name: value for name, value in body.items() if name not in _GENERATE}
    written = _write_shared(body, written) | {"prompt": body["prompt"]}
    written.setdefault("max_tokens", None)  # left out, it means 16 to some
    if written.pop("logprobs", None):
        written["logprobs"] = written.get("top_logprobs") or 1
    written.pop("top_logprobs", None)
    return written


def write_completion(body: Body) -> Body:
    """`/v1/completions` as `/api/generate` with `raw`: the inverse of `write_raw`.

    Raises:
        RefusedError: it asks what Ollama cannot do.
    """
    options, rest = write_options(body)
    rest = {name: value for name, value in rest.items() if name != "stream_options"}
    for name, least in (("n", 1), ("best_of", 1)):
        if rest.pop(name, None) not in (None, least):
            raise _refuse(f"{name} above 1 is not served by this router's backend; ask again instead")
    for name in ("suffix", "echo", "logit_bias"):
        if rest.pop(name, None):
            raise _refuse(f"{name} is not served by this router's backend")
    if (form := read_response_format(rest.pop("response_format", None))) is not None:
        rest["format"] = form
    if (count := rest.pop("logprobs", None)) is not None and count is not False:
        if not isinstance(count, int):
            raise _refuse("logprobs must be a number")
        rest |= {"logprobs": True, "top_logprobs": int(count)}
    prompts = rest.get("prompt")
    prompt = prompts[0] if isinstance(prompts, list) and len(prompts) == 1 else prompts
    if not isinstance(prompt, str) or not prompt:
        raise _refuse("prompt must be one text for this router's backend, not several, and no token ids")
    rest |= {"prompt": prompt, "raw": True, "stream": body.get("stream") is True}
    return rest | ({"options": options} if options else {})


def _write_shared(body: Body, written: Body) -> Body:
    """What chat and generate have in common; what is said by its own name wins over an option of that name."""
    options: dict[str, Any] = body.get("options") or {}
    written = write_parameters(options) | written
    for name, value in write_thinking(body.get("think")).items():
        given = written.get(name)
        written[name] = given | value if isinstance(given, dict) and isinstance(value, dict) else value
    form = write_response_format(body.get("format"))
    if form is not None:
        written["response_format"] = form
    if body.get("logprobs"):
        written["logprobs"] = True
        if body.get("top_logprobs"):
            written["top_logprobs"] = body["top_logprobs"]
    streamed = body.get("stream") is not False
    written["stream"] = streamed
    if streamed:
        written["stream_options"] = {"include_usage": True}
    return written


def _refuse(said: str) -> RefusedError:
    return RefusedError(400, "invalid_request_error", said)
