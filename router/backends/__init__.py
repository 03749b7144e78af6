"""What answers behind the router, in two halves that may live in two processes.

What a request sees: `backend` (one version: address, whether it is ready, its running answers) and `view` (the table of
them). What keeps it served: `pool` loads and unloads versions, each with a `host`: `llama` runs llama.cpp as processes
of our own, `remote` keeps a version served by an Ollama or a vLLM that is not ours (`ollama`, `vllm`); `served` says
which of a version's files a kind needs and brings them.
"""

from router.backends.backend import Backend, ModelGoneError, Status
from router.backends.view import BackendView

__all__ = ["Backend", "BackendView", "ModelGoneError", "Status"]
