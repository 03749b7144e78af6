"""What answers behind the router: one backend for each loaded version, of one of three kinds.

`backend` is what proxy, state and control see; `llama` runs llama.cpp as processes of our own, `remote` keeps a version
served by an Ollama or a vLLM that is not ours (`ollama`, `vllm`); `pool` loads and unloads versions; `served` says
which of a version's files a kind needs and brings them.
"""

from router.backends.backend import Backend, ModelGoneError
from router.backends.pool import BackendPool
from router.backends.served import ServedModel

__all__ = ["Backend", "BackendPool", "ModelGoneError", "ServedModel"]
