"""Knows the keys: who sends these headers, in about a microsecond.

The table is made of what PostgreSQL holds (or the copy of it on disk) and replaced as a whole, so that a request meets
one or the other. A key is found by its hash, which nobody can steer towards another's, and compared in constant time
all the same. The header of a caller who was let in is remembered, up to a bound, and as long as the table.
"""

from __future__ import annotations

import hmac
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from flytewheel.api_keys import PREFIX, ApiKey, hash_secret, is_well_formed
from router.access.callers import LOCAL, NOBODY, ROOT, Caller
from router.refusals import RefusedError

_REMEMBERED = 4096
_LONGEST = 512  # of an authorization header, in bytes
_LOOPBACK = (b"127.0.0.1", b"localhost", b"[::1]")
_BEARER = b"bearer "


@dataclass(slots=True)
class _Table:
    """One state of the keys. `known` maps headers to callers and the time that they end, in seconds since the epoch."""

    by_hash: dict[bytes, tuple[bytes, Caller, float]]
    dead: dict[bytes, str]
    known: dict[bytes, tuple[Caller, float]] = field(default_factory=dict)


class Keys:
    """The keys that open this router.

    Args:
        admin_key: the root key, which has every scope.
        loopback: let callers without a key chat, react and read (`--insecure-loopback`).
        clock: seconds since the epoch.
    """

    def __init__(self, admin_key: bytes, *, loopback: bool = False, clock: Callable[[], float] = time.time) -> None:
        self._admin_key = admin_key
        self._loopback = loopback
        self._clock = clock
        self._keys: tuple[ApiKey, ...] | None = None
        self._table = _Table({}, {})

    @property
    def keys(self) -> tuple[ApiKey, ...] | None:
        """What the table was made of; None before it was first read."""
        return self._keys

    def replace(self, keys: Iterable[ApiKey]) -> None:
        """Takes another state of the keys; whoever is revoked in it is refused from the next request on."""
        self._keys = tuple(keys)
        by_hash: dict[bytes, tuple[bytes, Caller, float]] = {}
        dead: dict[bytes, str] = {}
        for key in self._keys:
            if key.revoked_at is not None:
                dead[key.hash] = f"key {key.key_id} was revoked"
                continue
            end = float("inf") if key.expires_at is None else key.expires_at.timestamp()
            by_hash[key.hash] = (key.hash, Caller(key.key_id, key.account, key.scopes, key.limits), end)
        self._table = _Table(by_hash, dead)

    def identify(self, headers: dict[bytes, bytes]) -> Caller:
        """Who sends these headers; NOBODY without a key.

        Raises:
            RefusedError: a key was given and is not, or no longer, one of ours.
        """
        given = headers.get(b"authorization")
        if given is None:
            return LOCAL if self._loopback and _is_local(headers) else NOBODY
        table = self._table
        found = table.known.get(given)
        if found is None:
            found = self._find(table, given, headers)
            if found is None:
                return LOCAL
            if len(table.known) >= _REMEMBERED:
                table.known.clear()
            table.known[given] = found
        caller, end = found
        if end <= self._clock():
            raise _refuse(f"key {caller.key_id} has ended; rotate it in time with `flytewheel keys rotate`")
        return caller

    def _find(self, table: _Table, given: bytes, headers: dict[bytes, bytes]) -> tuple[Caller, float] | None:
        if given[: len(_BEARER)].lower() != _BEARER or len(given) > _LONGEST:
            raise _refuse("expected 'Authorization: Bearer <API key>'")
        key = given[len(_BEARER) :].strip()
        if hmac.compare_digest(key, self._admin_key):
            return ROOT, float("inf")
        text = key.decode("latin-1")
        digest = hash_secret(text)
        kept, caller, end = table.by_hash.get(digest, (b"", NOBODY, 0.0))
        if hmac.compare_digest(kept, digest):
            return caller, end
        if self._loopback and not text.startswith(PREFIX) and _is_local(headers):
            return None  # official clients send some key or other; what looks like one of ours is held to it
        if text.startswith(PREFIX) and not is_well_formed(text):
            raise _refuse("the API key is mistyped or cut short: its checksum does not fit")
        if self._keys is None:
            raise RefusedError(503, "server_error", "the API keys have not been read yet; try again")
        raise _refuse(table.dead.get(digest, "no such API key"))


def _is_local(headers: dict[bytes, bytes]) -> bool:
    """Whether a program of this machine asks, and no web page: a page's browser names its origin, and a name that was
    bent to point here (DNS rebinding) stands in `host`."""
    host = headers.get(b"host", b"").rpartition(b":")
    name = host[0] if host[2].isdigit() else headers.get(b"host", b"")
    return name.lower() in _LOOPBACK and b"origin" not in headers


def _refuse(message: str) -> RefusedError:
    return RefusedError(401, "invalid_request_error", message, "invalid_api_key")
