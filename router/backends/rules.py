"""How patient a process is with its backends: what the settings say, in the form that is used."""

from __future__ import annotations

import ssl
from dataclasses import dataclass, field

from aiohttp import ClientTimeout

from flytewheel.authorities import trust_authorities
from flytewheel.settings import Settings
from router.backends.breaker import BreakerRule
from router.backends.limit import LimitRule


@dataclass(frozen=True, slots=True)
class Rules:
    """Seconds of patience, and the rules of breaker and limit.

    Attributes:
        connect_s: To connect, TLS included.
        first_token_s: From the request to the first bytes of a stream.
        chunk_s: Between two chunks of a stream.
        answer_s: A whole answer; also one that is not streamed, of which nothing is seen before its end.
        stream_timeout: Of a stream's beginning, as aiohttp's; for its chunks `chunk_s` is set once it began.
        whole_timeout: Of an answer that comes as a whole.
        tls: What proves a server behind `https://`; None: the system's authorities.
        connections: Open ones at the same time, of all backends of one kind of place together.
    """

    connect_s: float = 5.0
    first_token_s: float = 60.0
    chunk_s: float = 60.0
    answer_s: float = 600.0
    connections: int = 4096
    breaker: BreakerRule = field(default_factory=BreakerRule)
    limit: LimitRule = field(default_factory=LimitRule)
    tls: ssl.SSLContext | None = None
    stream_timeout: ClientTimeout = field(init=False)
    whole_timeout: ClientTimeout = field(init=False)

    def __post_init__(self) -> None:
        for name, silence_s in (("stream_timeout", self.first_token_s), ("whole_timeout", self.answer_s)):
            timeout = ClientTimeout(total=self.answer_s, sock_connect=self.connect_s, sock_read=silence_s)
            object.__setattr__(self, name, timeout)

    @classmethod
    def of_settings(cls, settings: Settings) -> Rules:
        """Those of this process.

        Raises:
            SettingsError: the file of authorities is none.
        """
        return cls(
            connect_s=settings.backend_connect_s,
            first_token_s=settings.backend_first_token_s,
            chunk_s=settings.backend_chunk_s,
            answer_s=settings.backend_answer_s,
            limit=LimitRule(target_s=settings.backend_queue_s),
            tls=None if settings.backend_ca is None else trust_authorities(settings.backend_ca),
        )
