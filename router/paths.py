"""The paths that models are asked on, the same for clients and backends, and the names that models are asked by; and
those that the processes of a router share.
"""

from pathlib import Path

CHAT, COMPLETIONS, EMBEDDINGS = "/v1/chat/completions", "/v1/completions", "/v1/embeddings"
DUELS = "/v1/duels/chat/completions"  # two answers side by side
OLLAMA_CHAT, OLLAMA_GENERATE = "/api/chat", "/api/generate"
OLLAMA_EMBED, OLLAMA_EMBEDDINGS = "/api/embed", "/api/embeddings"
# Of Ollama's protocol: what is refused there is said in its form.
OLLAMA_PATHS = frozenset({
    OLLAMA_CHAT, OLLAMA_GENERATE, OLLAMA_EMBED, OLLAMA_EMBEDDINGS, "/api/tags", "/api/show", "/api/ps", "/api/version",
    "/api/pull", "/api/push", "/api/create", "/api/copy", "/api/delete",
})  # fmt: skip

MODEL_PREFIX = "flytewheel/"  # of the routed model names
LATEST = ":latest"  # Ollama's clients put it behind a name that has no tag; none of ours has one


def read_name(asked: str) -> str | None:
    """The name of the routed model that a client asks for; None where it is no such name."""
    return asked.removeprefix(MODEL_PREFIX).removesuffix(LATEST) if asked.startswith(MODEL_PREFIX) else None


def name_metrics(keeper: Path) -> Path:
    """The folder that the processes of one router count in, beside the socket of their keeper."""
    return keeper.with_suffix(".metrics")


def name_rates(home: Path) -> Path:
    """The table of what keys have used, which all processes of a machine share."""
    return home / "router" / "rates"
