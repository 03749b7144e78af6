"""The connections to backends: pools with a limit, to addresses that are allowed, without redirects' or proxies' help.

One pool for each set of allowed networks, so that what is opened for a process of this machine (loopback, and nothing
else) is no way for a name in the signed configuration to get there. The address is checked where the socket is made,
after the name was asked: a second answer of the name server is checked like the first.
"""

from __future__ import annotations

import aiohttp

from flytewheel.addresses import OWN, AddressRule, read_networks
from router.backends.backend import Status
from router.backends.connector import Connector
from router.backends.rules import Rules

# llama.cpp, and uvicorn in front of vLLM, close an idle connection after 5 s; ours goes first, so that no request meets
# a closing one. Behind TLS a handshake costs several round trips, and the usual proxies wait a minute or more.
_IDLE_S, _IDLE_TLS_S = 2.0, 20.0


class Connections:
    """The sessions of one process; made inside its event loop."""

    def __init__(self, rules: Rules, resolver: aiohttp.abc.AbstractResolver | None = None) -> None:
        self._rules = rules
        self._resolver = resolver
        self._sessions: dict[tuple[object, ...], aiohttp.ClientSession] = {}

    def open(self, status: Status) -> aiohttp.ClientSession:
        """The session by which a version's server is asked."""
        key = (status.own, status.allow, status.url.startswith("https:"))
        session = self._sessions.get(key)
        if session is None:
            rule = OWN if status.own else AddressRule(read_networks(status.allow, f"allow of {status.alias}"))
            session = self._sessions[key] = self._make(rule, _IDLE_TLS_S if key[2] else _IDLE_S)
        return session

    async def close(self) -> None:
        """Closes every connection."""
        for session in self._sessions.values():
            await session.close()
        self._sessions.clear()

    def _make(self, rule: AddressRule, idle_s: float) -> aiohttp.ClientSession:
        connector = Connector(
            limit=self._rules.connections,
            keepalive_timeout=idle_s,
            resolver=self._resolver,
            socket_factory=rule.make_socket,
            ssl=True if self._rules.tls is None else self._rules.tls,
        )
        return aiohttp.ClientSession(
            connector=connector,
            auto_decompress=False,
            cookie_jar=aiohttp.DummyCookieJar(),
            headers={"accept-encoding": "identity"},
            timeout=self._rules.stream_timeout,
            trust_env=False,
        )


def describe_refused(error: aiohttp.ClientConnectorCertificateError) -> str:
    """What is wrong with a server's certificate, and what to do, as the end of a line."""
    cause = error.certificate_error
    said = getattr(cause, "verify_message", "") or str(cause)
    return (
        f"is not who it says it is: {said.rstrip('.')}; renew its certificate, or name its authority in"
        " FLYTEWHEEL_BACKEND_CA"
    )
