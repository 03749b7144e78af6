"""A stand-in that speaks vLLM's LoRA endpoints strictly, over real adapter folders, and answers chats by a word.

As vLLM (entrypoints/openai/serving_models.py, serve/lora/api_router.py): the paths exist only where updating is
allowed, a taken name is 400, a folder without an adapter 404. `newer` knows `load_inplace` and tells errors inside
`error`; before, they are the object itself.
"""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

from tests.servers.loopback import Handler, Loopback, ProtocolError

BASE = "org/base-1b"


def write_adapter(folder: Path, word: str, *, rank: int = 8) -> Path:
    """A PEFT folder as far as anybody looks into it here, and the word that answers it."""
    import numpy as np
    from safetensors.numpy import save_file

    folder.mkdir(parents=True)
    (folder / "adapter_config.json").write_text(json.dumps({"r": rank, "peft_type": "LORA"}))
    weights = np.frombuffer(word.encode(), dtype=np.uint8).astype(np.float32)
    save_file({"base_model.model.q_proj.lora_A.weight": weights}, folder / "adapter_model.safetensors")
    (folder / "word.txt").write_text(word)
    return folder


class VllmStandIn(Loopback):
    """One server; adapters answer with what their folder's `word.txt` says, the base with `base`."""

    def __init__(self, *, allowed: bool = True, newer: bool = True, max_rank: int = 16, key: str | None = None) -> None:
        super().__init__(_Handler, key=key)
        self.allowed = allowed
        self.newer = newer
        self.max_rank = max_rank
        self.adapters: dict[str, str] = {}
        self.broken_chats = 0
        self.forgets = False
        self.scripts: list[tuple[str, list[bytes]]] = []  # content type and pieces of answers, in the place of its own
        self.asked: list[dict[str, Any]] = []
        self.flowing = threading.Event()  # cleared: a stream stops after its second piece until it is set
        self.flowing.set()


class _Handler(Handler):
    server: VllmStandIn

    def route(self) -> None:
        if (self.command, self.path) == ("GET", "/v1/models"):
            cards = [{"id": BASE, "object": "model", "owned_by": "vllm", "root": "/models/base", "parent": None}]
            cards += [
                {"id": name, "object": "model", "owned_by": "vllm", "root": root, "parent": BASE}
                for name, root in self.server.adapters.items()
            ]
            self.answer(200, {"object": "list", "data": cards})
        elif (self.command, self.path) == ("POST", "/v1/load_lora_adapter") and self.server.allowed:
            self.load()
        elif (self.command, self.path) == ("POST", "/v1/unload_lora_adapter") and self.server.allowed:
            name = self.read_json({"lora_name": str})["lora_name"]
            if self.server.adapters.pop(name, None) is None:
                self.refuse(404, "NotFoundError", f"The lora adapter '{name}' cannot be found.")
            else:
                self.answer(200, f"Success: LoRA adapter '{name}' removed successfully.", content_type="text/plain")
        elif (self.command, self.path) in {("POST", "/v1/chat/completions"), ("POST", "/v1/completions")}:
            self.complete()
        else:
            for _ in self.read_pieces():
                pass
            self.answer(404, {"detail": "Not Found"})

    def load(self) -> None:
        server = self.server
        body = self.read_json({"lora_name": str, "lora_path": str}, {"load_inplace": bool} if server.newer else {})
        name, path = body["lora_name"], body["lora_path"]
        if name in server.adapters and not body.get("load_inplace"):
            self.refuse(400, "InvalidUserInput", f"The lora adapter '{name}' has already been loaded.")
            return
        config = Path(path) / "adapter_config.json"
        if not config.is_file() or not (Path(path) / "adapter_model.safetensors").is_file():
            self.refuse(404, "NotFoundError", f"Loading lora {name} failed: No adapter found for {path}")
            return
        rank = json.loads(config.read_text())["r"]
        if rank > server.max_rank:
            self.refuse(400, "BadRequestError", f"LoRA rank {rank} is greater than max_lora_rank {server.max_rank}.")
            return
        if not server.forgets:
            server.adapters[name] = path
        self.answer(200, f"Success: LoRA adapter '{name}' added successfully.", content_type="text/plain")

    def refuse(self, status: int, kind: str, said: str) -> None:
        told = {"message": said, "type": kind, "param": None, "code": status}
        self.answer(status, {"error": told} if self.server.newer else {"object": "error", **told})

    def complete(self) -> None:
        body = json.loads(b"".join(self.read_pieces()))
        model = body["model"]
        if model != BASE and model not in self.server.adapters:
            self.refuse(404, "NotFoundError", f"The model `{model}` does not exist.")
            return
        if not {"messages", "prompt"} & set(body):
            raise ProtocolError(400, "neither messages nor prompt")
        self.server.asked.append(body)
        if self.server.scripts:
            content_type, pieces = self.server.scripts.pop(0)
            self.begin_stream(content_type)
            for piece in pieces:
                self.send_piece(piece)
            self.end_stream()
            return
        word = "base" if model == BASE else (Path(self.server.adapters[model]) / "word.txt").read_text()
        chat = "messages" in body
        if not body.get("stream"):
            told = {"message": {"role": "assistant", "content": word}} if chat else {"text": word}
            self.answer(200, self._tell(model, "chat.completion" if chat else "text_completion", told, "stop"))
            return
        self.begin_stream("text/event-stream; charset=utf-8")
        for count, letter in enumerate([*word, ""]):
            if count == 2:
                self.server.flowing.wait(60)
            if count == 2 and self.server.broken_chats:
                self.server.broken_chats -= 1
                self.drop()
                return
            told = {"delta": {"content": letter}} if chat else {"text": letter}
            event = self._tell(model, "chat.completion.chunk", told, None if letter else "stop")
            self.send_piece(b"data: " + json.dumps(event).encode() + b"\n\n")
        if (body.get("stream_options") or {}).get("include_usage"):
            usage = {"prompt_tokens": 5, "completion_tokens": len(word) + 1, "total_tokens": len(word) + 6}
            event = self._tell(model, "chat.completion.chunk", {}, None) | {"choices": [], "usage": usage}
            self.send_piece(b"data: " + json.dumps(event).encode() + b"\n\n")
        self.send_piece(b"data: [DONE]\n\n")
        self.end_stream()

    def _tell(self, model: str, kind: str, told: dict[str, Any], reason: str | None) -> dict[str, Any]:
        choice = {"index": 0, **told, "finish_reason": reason}
        return {"id": "x-1", "object": kind, "created": 1, "model": model, "choices": [choice]}
