"""What the router speaks with clients: each protocol reads its requests and answers, nothing else knows their form.

`protocol` is what the proxy asks of one; `openai` is what backends speak themselves, `ollama` is translated where it
must be; `prompts` and `answers` read what is remembered.
"""

from collections.abc import Mapping

from router.paths import (
    CHAT,
    COMPLETIONS,
    EMBEDDINGS,
    OLLAMA_CHAT,
    OLLAMA_EMBED,
    OLLAMA_EMBEDDINGS,
    OLLAMA_GENERATE,
)
from router.protocols.ollama.protocol import (
    Completions,
    OllamaChat,
    OllamaEmbed,
    OllamaGenerate,
)
from router.protocols.openai import OpenAiChat, OpenAiEmbeddings
from router.protocols.protocol import AnswerError, Protocol, ToldError, Translation

_ALL = (
    OpenAiChat(CHAT),
    Completions(COMPLETIONS),
    OpenAiEmbeddings(EMBEDDINGS),
    OllamaChat(OLLAMA_CHAT),
    OllamaGenerate(OLLAMA_GENERATE),
    OllamaEmbed(OLLAMA_EMBED),
    OllamaEmbed(OLLAMA_EMBEDDINGS),
)
PROTOCOLS: Mapping[str, Protocol] = {protocol.path: protocol for protocol in _ALL}

__all__ = ["PROTOCOLS", "AnswerError", "Protocol", "ToldError", "Translation"]
