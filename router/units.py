"""Decides who a request's user is: the unit that is assigned to an arm, counted and compared.

In this order: the id that the client gives (`user` in the body, else the header `x-flytewheel-user`); the cookie that a
browser brought back; a new cookie, for a browser that will bring it back; the API key; the address. Everyone behind one
key or address is one unit, so the answer says which it was (`x-flytewheel-unit`).

A cookie holds 128 random bits and their HMAC: nobody makes up an id that lands in the arm they like, or takes over
another's, and a forged one is answered with a new one. It goes only to a browser's own pages of this origin or site
(`sec-fetch-site`, which a page cannot set): elsewhere SameSite keeps it from coming back, and every request would be
somebody else. Ids given by clients are taken as they are, whichever key they come by: a team's keys share its users,
and a rotated key keeps them. Only the names made here (`anon-…`) cannot be given.
"""

from __future__ import annotations

import hmac
import os
from collections.abc import Mapping
from functools import lru_cache
from http.cookies import CookieError, SimpleCookie
from typing import Any, Literal

from msgspec import Struct

from router.protocols.prompts import PromptError

Kind = Literal["user", "cookie", "api-key", "address"]

COOKIE = "flytewheel_unit"
YEAR_S = 365 * 24 * 3600
ANONYMOUS = "anon-"
_LONGEST = 200  # characters of an id, as in flytewheel.records
_OWN_PAGES = frozenset((b"same-origin", b"same-site"))


class Unit(Struct, frozen=True, gc=False):
    """A request's user. `cookie` is the value of a `set-cookie` header that the answer must bring."""

    user: str
    kind: Kind
    cookie: bytes | None = None


def find_unit(
    key: bytes,
    given: Any,
    headers: Mapping[bytes, bytes],
    *,
    account: str | None,
    address: str,
    secure: bool,
) -> Unit:
    """The user of a request.

    Args:
        key: the router's assignment key.
        given: `user` of the body.
        headers: of the request, names in lower case.
        account: what the caller's API key counts for; None without one.
        address: the client's.
        secure: whether the client came over TLS.

    Raises:
        PromptError: the id given is no text of 1 to 200 characters.
    """
    if given is None and (header := headers.get(b"x-flytewheel-user")):
        given = header.decode(errors="replace")
    if given is not None:
        if not isinstance(given, str) or not 0 < len(given) <= _LONGEST or "\0" in given:
            raise PromptError(f"user must be text of 1 to {_LONGEST} characters")
        if given.startswith(ANONYMOUS):  # else whoever reads a log could vote and be counted as somebody anonymous
            given = f"given:{given}"[:_LONGEST]
        return Unit(given, "user")
    if (cookies := headers.get(b"cookie")) is not None and (name := _read_cookie(key, cookies)) is not None:
        return Unit(name, "cookie")
    if headers.get(b"sec-fetch-site") in _OWN_PAGES:
        return _make_cookie(key, os.urandom(16).hex(), secure)
    if account is not None:
        return Unit(_name(key, "caller", account), "api-key")
    return Unit(_name(key, "address", address), "address")


def _make_cookie(key: bytes, token: str, secure: bool) -> Unit:
    attributes = f"Path=/; Max-Age={YEAR_S}; HttpOnly; SameSite=Lax" + ("; Secure" if secure else "")
    cookie = f"{COOKIE}={token}.{_sign(key, 'cookie', token)[:40]}; {attributes}"
    return Unit(ANONYMOUS + token[:24], "cookie", cookie.encode())


def _read_cookie(key: bytes, cookies: bytes) -> str | None:
    """The name in a cookie of ours; None where there is none, or it is forged."""
    try:
        found = SimpleCookie(cookies.decode("latin-1")).get(COOKIE)
    except CookieError:
        return None
    token, _, signature = (found.value if found else "").partition(".")
    if not token or not hmac.compare_digest(_sign(key, "cookie", token)[:40].encode(), signature.encode()):
        return None
    return ANONYMOUS + token[:24]


@lru_cache(maxsize=4096)  # the same key and address come with every request
def _name(key: bytes, label: str, text: str) -> str:
    return ANONYMOUS + _sign(key, label, text)[:24]


def _sign(key: bytes, label: str, text: str) -> str:
    """Keyed by a key of its own for each label: no signature of one kind passes for another."""
    derived = hmac.digest(key, f"flytewheel unit {label}".encode(), "sha256")
    return hmac.digest(derived, text.encode(), "sha256").hex()
