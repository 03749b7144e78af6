"""What answers behind the router, in two halves that may live in two processes.

What a request sees, in a worker: `backend` (one version: address, whether it is ready, its running answers) with its
`breaker` and `limit`, `view` (the table of them), `connections` (to which addresses, by which pool), `rules` (how
patient). What keeps it served, in the keeper: `pool` loads and unloads versions, each with a `host`: `llama` runs
llama.cpp as processes of our own, `resident` several versions on one of them, `remote` keeps a version served by an
Ollama or a vLLM that is not ours (`ollama`, `vllm`), `upstream` asks anybody's address that a signed version names;
`kinds` chooses, `served` brings the files that a kind needs, `warming` has a version speak before it gets traffic,
`spares` says who stays loaded for a rollback.
"""

from router.backends.backend import Backend, ModelGoneError, Status
from router.backends.view import BackendView

__all__ = ["Backend", "BackendView", "ModelGoneError", "Status"]
