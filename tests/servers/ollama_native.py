"""Ollama's own chat, generate and embedding paths for the stand-in, with llama.cpp behind them.

As Ollama's server (server/routes.go): a stream of lines unless `stream` is false, the last one with counts and times;
errors are `{"error": "…"}`. Fields that it does not know are nobody's fault; what would load a model anew is the
router's, which is to keep it back.
"""

from __future__ import annotations

import json
from typing import Any

import httpx

from tests.export.go_renderer import GoError, GoTemplate
from tests.servers.loopback import Handler, ProtocolError

CREATED = "2026-11-28T09:00:00.123456789Z"
_LOADING = {"num_ctx", "num_gpu", "num_batch", "num_thread"}


def answer_native(handler: Handler, server: Any, model: dict[str, Any], body: dict[str, Any]) -> None:
    """Answers `/api/chat` or `/api/generate` for a model that is there."""
    chat, options = handler.path == "/api/chat", body.get("options") or {}
    if "keep_alive" in body or _LOADING & set(options):
        raise ProtocolError(400, "a client's word on how the model is loaded was passed on")
    try:
        prompt = render(model, body, chat=chat)
    except GoError as error:
        handler.answer(500, {"error": str(error)})
        return
    request = {
        "prompt": prompt,
        "stop": [*model["parameters"].get("stop", []), *options.get("stop", [])],
        "temperature": options.get("temperature", 0.8),
        "max_tokens": options.get("num_predict", -1),
        "n_probs": 1 if body.get("logprobs") else 0,
        "stream": True,
    }
    url = server.start_model(body["model"]) + "/v1/completions"
    if body.get("stream") is False:
        pieces, last = list_pieces(url, request)
        text = "".join(piece for piece, _ in pieces)
        told = [each for _, logprobs in pieces for each in logprobs]
        logprobs = {"logprobs": told} if told else {}
        handler.answer(200, tell(body, chat, text) | last | logprobs)
        return
    handler.begin_stream("application/x-ndjson")
    pieces, last = list_pieces(url, request)
    for count, (text, logprobs) in enumerate(pieces):
        if count == 2 and server.broken_chats:
            server.broken_chats -= 1
            handler.drop()
            return
        told = tell(body, chat, text) | ({"logprobs": logprobs} if logprobs else {})
        handler.send_piece(json.dumps(told, ensure_ascii=False).encode() + b"\n")
    handler.send_piece(json.dumps(tell(body, chat, "") | last).encode() + b"\n")
    handler.end_stream()


def answer_embedding(handler: Handler, body: dict[str, Any]) -> None:
    """Answers the embedding paths: of a text its length in bytes, and 1."""
    given = body.get("prompt") if handler.path == "/api/embeddings" else body["input"]
    texts = given if isinstance(given, list) else [given]
    found = [[float(len(text.encode())), 1.0] for text in texts]
    if handler.path == "/api/embeddings":
        handler.answer(200, {"embedding": found[0]})
    elif handler.path == "/api/embed":
        handler.answer(200, {"model": body["model"], "embeddings": found, "total_duration": 9, "prompt_eval_count": 3})
    else:
        data = [{"object": "embedding", "index": place, "embedding": each} for place, each in enumerate(found)]
        usage = {"prompt_tokens": 3, "total_tokens": 3}
        handler.answer(200, {"object": "list", "data": data, "model": body["model"], "usage": usage})


def render(model: dict[str, Any], body: dict[str, Any], *, chat: bool) -> str:
    """The text that the model sees."""
    if body.get("raw"):
        if body.get("system") or body.get("template"):
            raise ProtocolError(400, "raw mode does not support template, system, or context")
        return str(body["prompt"])
    if chat:
        turns = [{"role": turn["role"], "content": turn.get("content") or ""} for turn in body["messages"]]
    else:
        turns = [{"role": "user", "content": body["prompt"]}]
    system = model["system"] or body.get("system", "")
    if system and turns[0]["role"] != "system":
        turns.insert(0, {"role": "system", "content": system})
    return str(GoTemplate(model["template"] or "{{ range .Messages }}{{ .Content }}{{ end }}").render(turns))


def tell(body: dict[str, Any], chat: bool, text: str) -> dict[str, Any]:
    """One line."""
    said = {"message": {"role": "assistant", "content": text}} if chat else {"response": text}
    return {"model": body["model"], "created_at": CREATED, **said, "done": False}


def list_pieces(url: str, request: dict[str, Any]) -> tuple[list[tuple[str, list[dict[str, Any]]]], dict[str, Any]]:
    """Pieces of text with their logprobs, and what the last line says."""
    pieces, reason, timings = [], "stop", {}
    with httpx.stream("POST", url, json=request, timeout=60, trust_env=False) as answer:
        for line in answer.iter_lines():
            if line.startswith("data: {"):
                event = json.loads(line[6:])
                choice = event["choices"][0]
                reason, timings = choice["finish_reason"] or reason, event.get("timings") or timings
                tokens = (choice.get("logprobs") or {}).get("content") or []
                if choice["text"]:
                    told = [{name: token[name] for name in ("token", "logprob")} for token in tokens]
                    pieces.append((choice["text"], told))
    last = {
        "done": True,
        "done_reason": reason,
        "total_duration": 5_000_000,
        "load_duration": 1,
        "prompt_eval_count": timings["prompt_n"] + timings.get("cache_n", 0),
        "prompt_eval_duration": int(timings["prompt_ms"] * 1e6),
        "eval_count": timings["predicted_n"],
        "eval_duration": int(timings["predicted_ms"] * 1e6),
    }
    return pieces, last
