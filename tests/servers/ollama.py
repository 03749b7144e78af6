"""A stand-in that speaks Ollama's HTTP API strictly: it hashes every blob, refuses what it does not know, and answers
chats through a real llama.cpp server on the text that the model's TEMPLATE renders.

What it does follows Ollama's own server (server/create.go, server/routes.go); where that is lenient, this is not:
unknown fields, unknown parameters, files out of order are faults.
"""

from __future__ import annotations

import hashlib
import json
import re
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx

from flytewheel.llama_server import run_server
from tests.export.go_renderer import GoError, GoTemplate
from tests.servers.loopback import DroppedError, Handler, Loopback, ProtocolError
from tests.servers.ollama_native import answer_embedding, answer_native

_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_NAME = re.compile(
    r"([A-Za-z0-9_][A-Za-z0-9_-]{0,79}/)?[A-Za-z0-9_][A-Za-z0-9_.-]{0,79}(:[A-Za-z0-9_][A-Za-z0-9_.-]{0,79})?"
)
_NUMBERS = {"num_ctx", "temperature", "top_k", "top_p", "min_p", "repeat_penalty", "seed", "num_predict"}


class OllamaStandIn(Loopback):
    """One server with its blobs and models. `old`: as before 0.5.5; `no_adapters`: as since 2026."""

    def __init__(
        self,
        folder: Path,
        *,
        old: bool = False,
        no_adapters: bool = False,
        key: str | None = None,
        native: bool = False,
    ) -> None:
        super().__init__(_Handler, key=key)
        self.folder = folder
        self.old = old
        self.no_adapters = no_adapters
        self.native = native
        self.blobs: dict[str, Path] = {}
        self.largest_piece = 0
        self.models: dict[str, dict[str, Any]] = {}
        self.running: dict[str, str] = {}
        self.changes: Callable[[dict[str, Any]], None] = lambda model: None
        self.statuses: list[Any] = []
        self.broken_chats = 0
        self.asked: list[dict[str, Any]] = []
        self.lock = threading.Lock()
        self._processes = ExitStack()

    def start_model(self, name: str) -> str:
        """The llama.cpp server behind a model, started once."""
        with self.lock:
            if name not in self.running:
                blob = self.blobs[self.models[name]["files"][0]]
                self.running[name] = self._processes.enter_context(
                    run_server(blob, alias=name, threads=1, slot_tokens=1024, slots=2)
                )
            return self.running[name]

    def server_close(self) -> None:
        self._processes.close()
        super().server_close()


class _Handler(Handler):
    server: OllamaStandIn

    def route(self) -> None:
        routes: dict[tuple[str, str], Callable[[], None]] = {
            ("GET", "/api/version"): lambda: self.answer(200, {"version": "0.5.4" if self.server.old else "0.30.1"}),
            ("GET", "/api/tags"): lambda: self.answer(
                200, {"models": [{"name": n, "model": n} for n in self.server.models]}
            ),
            ("GET", "/api/ps"): lambda: self.answer(
                200, {"models": [{"name": n, "model": n} for n in self.server.running]}
            ),
            ("POST", "/api/show"): self.show,
            ("POST", "/api/create"): self.create,
            ("POST", "/api/generate"): self.generate,
            ("POST", "/api/chat"): self.generate,
            ("POST", "/api/embed"): self.embed,
            ("POST", "/api/embeddings"): self.embed,
            ("POST", "/v1/embeddings"): self.embed,
            ("DELETE", "/api/delete"): self.delete,
            ("POST", "/v1/chat/completions"): self.chat,
        }
        if self.path.startswith("/api/blobs/"):
            self.blob(self.path.removeprefix("/api/blobs/"))
        elif (self.command, self.path) in routes:
            routes[self.command, self.path]()
        else:
            raise ProtocolError(404, "404 page not found")

    def blob(self, digest: str) -> None:
        server = self.server
        if not _DIGEST.fullmatch(digest):
            raise ProtocolError(400, "invalid digest format")
        if self.command == "HEAD":
            self.answer(200 if digest in server.blobs else 404)
            return
        if self.command != "POST":
            raise ProtocolError(405, "405 method not allowed")
        if ("HEAD", self.path) not in server.seen:
            raise ProtocolError(400, "sent without asking whether it is there")
        path, hashed = server.folder / uuid.uuid4().hex, hashlib.sha256()
        with path.open("wb") as out:
            for piece in self.read_pieces():
                hashed.update(piece)
                out.write(piece)
                if server.plan.get("cut blob") and out.tell() > 1 << 17:
                    raise DroppedError
        if f"sha256:{hashed.hexdigest()}" != digest:
            self.answer(400, {"error": f'digest mismatch, expected "{digest}", got "sha256:{hashed.hexdigest()}"'})
            return
        server.blobs[digest] = path
        self.answer(201)

    def create(self) -> None:
        server = self.server
        if server.old:
            for _ in self.read_pieces():
                pass
            self.answer(400, {"error": "path or Modelfile are required"})
            return
        kinds: dict[str, Any] = {"adapters": dict, "template": str, "system": str, "parameters": dict}
        body = self.read_json({"model": str, "files": dict}, kinds)
        if not _NAME.fullmatch(body["model"]):
            raise ProtocolError(400, "invalid model name")
        if body.get("adapters") and server.no_adapters:
            self.answer(400, {"error": "LoRA adapters are no longer supported"})
            return
        for path, digest in {**body["files"], **body.get("adapters", {})}.items():
            if path != Path(path).name or re.search(r"[\\:]", path):
                raise ProtocolError(400, f"file path must be relative: {path}")
            if not isinstance(digest, str) or not _DIGEST.fullmatch(digest):
                raise ProtocolError(400, f"invalid digest for {path}")
            if digest not in server.blobs:
                raise ProtocolError(400, f"blob not found for {path}")
        for name, value in body.get("parameters", {}).items():
            fits = isinstance(value, int | float) if name in _NUMBERS else name == "stop" and isinstance(value, list)
            if not fits:
                raise ProtocolError(400, f"unknown or wrong parameter {name}={value!r}")
        template = body.get("template")
        try:
            GoTemplate(template or "{{ .Prompt }}")
        except GoError as error:
            raise ProtocolError(400, f"template error: {error}") from None
        self.begin_stream("application/x-ndjson")
        for event in server.statuses or [{"status": "parsing GGUF"}, {"status": "writing manifest"}]:
            if event == "drop":
                self.drop()
                return
            if event == "end":
                self.end_stream()
                return
            if event == "hang":
                server.closing.wait()
                self.drop()
                return
            self.send_piece((event if isinstance(event, str) else json.dumps(event)).encode() + b"\n")
            if isinstance(event, str) or "error" in event:
                self.end_stream()
                return
        for digest in body["files"].values():
            if server.blobs[digest].read_bytes()[:4] != b"GGUF":
                self.send_piece(b'{"error": "supplied file was not in GGUF format", "status": 400}\n')
                self.end_stream()
                return
        model = {
            "files": list(body["files"].values()),
            "adapters": list(body.get("adapters", {}).values()),
            "template": template or "",
            "system": body.get("system", ""),
            "parameters": body.get("parameters", {}),
        }
        server.changes(model)
        server.models[body["model"]] = model
        self.send_piece(b'{"status":"success"}\n')
        self.end_stream()

    def show(self) -> None:
        model = self._find(self.read_json({"model": str})["model"])
        if model is None:
            return
        lines = []
        for name, value in model["parameters"].items():
            for each in value if isinstance(value, list) else [value]:
                lines.append(f"{name:<30} {json.dumps(each, ensure_ascii=False)}")
        blob = model["files"][0].replace(":", "-")
        template = model["template"]
        if self.server.native:
            from gguf import GGUFReader

            field = GGUFReader(self.server.blobs[model["files"][0]]).get_field("tokenizer.chat_template")
            assert field is not None
            template = field.contents()
        self.answer(
            200,
            {
                "modelfile": f'# Modelfile generated by "ollama show"\nFROM /models/blobs/{blob}\n',
                "parameters": "\n".join(lines),
                "template": template,
                "system": model["system"],
                "details": {"parent_model": "", "format": "gguf", "family": "llama", "quantization_level": "F16"},
                "model_info": {"general.architecture": "llama"},
                "capabilities": ["completion"],
            },
        )

    def generate(self) -> None:
        body = json.loads(b"".join(self.read_pieces()))
        self.server.asked.append(body)
        model = self._find(body["model"])
        if model is None:
            return
        if body.get("messages") or body.get("prompt"):
            answer_native(self, self.server, model, body)
        else:
            self.load(body)

    def embed(self) -> None:
        body = json.loads(b"".join(self.read_pieces()))
        if self._find(body["model"]) is not None:
            answer_embedding(self, body)

    def load(self, body: dict[str, Any]) -> None:
        if set(body) - {"model", "keep_alive", "stream"} or not isinstance(body.get("keep_alive"), int):
            raise ProtocolError(400, f"expected model, keep_alive and stream, got {sorted(body)}")
        if body["keep_alive"] == 0:
            self.server.running.pop(body["model"], None)
        else:
            self.server.start_model(body["model"])
        reason = "unload" if body["keep_alive"] == 0 else "load"
        self.answer(200, {"model": body["model"], "response": "", "done": True, "done_reason": reason})

    def delete(self) -> None:
        name = self.read_json({"model": str})["model"]
        if self._find(name) is not None:
            del self.server.models[name]
            self.server.running.pop(name, None)
            self.answer(200)

    def chat(self) -> None:
        """As Ollama: the system text is put before, TEMPLATE renders, and the text goes to llama.cpp with its stops."""
        body = json.loads(b"".join(self.read_pieces()))
        model = self._find(body["model"])
        if model is None:
            return
        messages = [{"role": turn["role"], "content": turn["content"]} for turn in body["messages"]]
        if model["system"] and messages[0]["role"] != "system":
            messages.insert(0, {"role": "system", "content": model["system"]})
        try:
            prompt = GoTemplate(model["template"] or "{{ range .Messages }}{{ .Content }}{{ end }}").render(messages)
        except GoError as error:
            self.answer(500, {"error": {"message": str(error), "type": "api_error", "param": None, "code": None}})
            return
        request = {
            "prompt": prompt,
            "stop": model["parameters"].get("stop", []),
            "temperature": body.get("temperature", model["parameters"].get("temperature", 0.8)),
            "max_tokens": body.get("max_tokens", -1),
            "stream": body.get("stream", False),
        }
        url = self.server.start_model(body["model"]) + "/v1/completions"
        if not request["stream"]:
            done = httpx.post(url, json=request, timeout=60, trust_env=False).json()
            choice = done["choices"][0]
            told = {"index": 0, "message": {"role": "assistant", "content": choice["text"]}}
            self.answer(
                200,
                self._tell(body, "chat.completion", told | {"finish_reason": choice["finish_reason"]})
                | {"usage": done["usage"]},
            )
            return
        self.begin_stream("text/event-stream")
        for count, choice in enumerate(self._stream(url, request)):
            if count >= 2 and self.server.broken_chats:
                self.server.broken_chats -= 1
                self.drop()
                return
            told = {"index": 0, "delta": {"role": "assistant", "content": choice["text"]}}
            event = self._tell(body, "chat.completion.chunk", told | {"finish_reason": choice["finish_reason"]})
            self.send_piece(b"data: " + json.dumps(event).encode() + b"\n\n")
        self.send_piece(b"data: [DONE]\n\n")
        self.end_stream()

    def _stream(self, url: str, request: dict[str, Any]) -> Iterator[dict[str, Any]]:
        with httpx.stream("POST", url, json=request, timeout=60, trust_env=False) as answer:
            for line in answer.iter_lines():
                if line.startswith("data: {"):
                    yield json.loads(line[6:])["choices"][0]

    def _tell(self, body: dict[str, Any], kind: str, choice: dict[str, Any]) -> dict[str, Any]:
        return {"id": "chatcmpl-1", "object": kind, "created": 1, "model": body["model"], "choices": [choice]}

    def _find(self, name: str) -> dict[str, Any] | None:
        model = self.server.models.get(name)
        if model is None:
            error: Any = f"model '{name}' not found"
            if self.path.startswith("/v1/"):
                error = {"message": error, "type": "api_error", "param": None, "code": None}
            self.answer(404, {"error": error})
        return model
