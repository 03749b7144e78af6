"""What the router speaks with clients: each protocol reads its requests and answers, nothing else knows their form."""

from collections.abc import Mapping

from router.protocols.openai import Chat, Completions, Embeddings
from router.protocols.protocol import AnswerError, Protocol, Translation

_ALL = (Chat("/v1/chat/completions"), Completions("/v1/completions"), Embeddings("/v1/embeddings"))
PROTOCOLS: Mapping[str, Protocol] = {protocol.path: protocol for protocol in _ALL}

__all__ = ["PROTOCOLS", "AnswerError", "Protocol", "Translation"]
