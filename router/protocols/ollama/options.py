"""Ollama's `options` and their like in OpenAI's protocol, both ways.

Where OpenAI knows no name, the name is llama.cpp's, which Ollama's options come from (vLLM knows top_k, min_p and
repetition_penalty). What is not given stays the backend's own default: Ollama's defaults (temperature 0.8,
repeat_penalty 1.1) belong to Ollama, and a version answers the same whichever protocol asks it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from router.protocols.protocol import Body
from router.refusals import RefusedError

# They decide how a model is loaded. It is loaded already, for everybody, by the router.
LOADING = frozenset({
    "numa", "num_ctx", "num_batch", "num_gpu", "main_gpu", "low_vram", "f16_kv", "logits_all", "vocab_only", "use_mmap",
    "use_mlock", "embedding_only", "num_thread", "draft_num_predict",
})  # fmt: skip
_NAMES = {"num_predict": "max_tokens", "num_keep": "n_keep"}
_BACK = {theirs: ours for ours, theirs in _NAMES.items()}
_OPTIONS = frozenset({
    "temperature", "top_p", "top_k", "min_p", "typical_p", "tfs_z", "seed", "stop", "max_tokens", "n_keep",
    "presence_penalty", "frequency_penalty", "repeat_penalty", "repeat_last_n", "penalize_newline", "mirostat",
    "mirostat_tau", "mirostat_eta",
})  # fmt: skip


def check_options(body: Body) -> None:
    """Refuses a request of Ollama's whose `options` are none.

    Raises:
        RefusedError: they are no object.
    """
    if not isinstance(body.get("options"), dict | None):
        raise RefusedError(400, "invalid_request_error", "options must be an object")


def drop_loading(body: Body) -> Body | None:
    """A request of Ollama's without what would load the model anew or unload it under others; None: there is none."""
    options = body.get("options") or {}
    if "keep_alive" not in body and LOADING.isdisjoint(options):
        return None
    kept = {name: value for name, value in body.items() if name not in ("keep_alive", "options")}
    options = {name: value for name, value in options.items() if name not in LOADING}
    return kept | ({"options": options} if options else {})


def write_parameters(options: Mapping[str, Any]) -> Body:
    """The options as OpenAI's parameters; unknown ones keep their names."""
    known = {name: value for name, value in options.items() if value is not None and name not in LOADING}
    body = {_NAMES.get(name, name): value for name, value in known.items()}
    limit = body.get("max_tokens")
    if isinstance(limit, int) and limit < 0:  # until the end; -2 until the context is full, which is the same here
        del body["max_tokens"]
    if "repeat_penalty" in body:
        body.setdefault("repetition_penalty", body["repeat_penalty"])  # vLLM's name of it
    return body


def write_options(body: Body) -> tuple[dict[str, Any], Body]:
    """Takes OpenAI's parameters apart into Ollama's options and what is none of them: the inverse."""
    options: dict[str, Any] = {}
    rest: Body = {}
    for name, value in body.items():
        if name in _OPTIONS:
            if value is not None:
                options[_BACK.get(name, name)] = value
        elif name == "repetition_penalty":
            options.setdefault("repeat_penalty", value)
        elif name == "max_completion_tokens":
            options.setdefault("num_predict", value)
        else:
            rest[name] = value
    return options, rest


def write_response_format(form: Any) -> Body | None:
    """Ollama's `format` as OpenAI's `response_format`; None where nothing is asked.

    Raises:
        RefusedError: it is neither `json` nor a schema.
    """
    if form is None or form == "":
        return None
    if form == "json":
        return {"type": "json_object"}
    if isinstance(form, dict):
        return {"type": "json_schema", "json_schema": {"name": "answer", "strict": True, "schema": form}}
    raise RefusedError(400, "invalid_request_error", 'format must be "json" or a JSON schema')


def read_response_format(form: Any) -> Any:
    """OpenAI's `response_format` as Ollama's `format`: the inverse.

    Raises:
        RefusedError: Ollama has nothing like it.
    """
    kind = form.get("type") if isinstance(form, dict) else None
    if form is None or kind == "text":
        return None
    if kind == "json_object":
        return "json"
    schema = form.get("json_schema") if kind == "json_schema" else None
    if isinstance(schema, dict) and isinstance(schema.get("schema"), dict):
        return schema["schema"]
    raise RefusedError(400, "invalid_request_error", f"response_format of type {kind!r} is not known to Ollama")


def write_thinking(think: Any) -> Body:
    """Ollama's `think` as what OpenAI-like servers take: the chat template's own switch, and the effort.

    Raises:
        RefusedError: it is neither a switch nor a level.
    """
    if think is None:
        return {}
    if isinstance(think, bool):
        return {"chat_template_kwargs": {"enable_thinking": think}}
    if think in ("low", "medium", "high", "max"):
        kwargs = {"enable_thinking": True, "reasoning_effort": think}
        return {"reasoning_effort": think, "chat_template_kwargs": kwargs}
    raise RefusedError(400, "invalid_request_error", 'think must be true, false, "low", "medium" or "high"')
