"""Decides what a key may do: the scopes, and what the door knows of whoever asks.

The scopes are exact, none contains another: a key that may chat may not read the metrics unless it says so. Only the
root key (`FLYTEWHEEL_ADMIN_KEY`) has all of them. An endpoint names one of them, or one of two words for "no key":
`PUBLIC`, what everybody may see, and `PROOF`, where the request itself carries what lets it in (a receipt, a reviewer's
link) and the endpoint checks it.
"""

from __future__ import annotations

from collections.abc import MutableMapping
from dataclasses import dataclass, field
from typing import Any

from flytewheel.api_keys import SCOPES, UNLIMITED, Limits

__all__ = ["ADMIN", "FEEDBACK", "PROOF", "PUBLIC", "READ", "SCOPES", "SERVE", "Caller", "Limits", "caller_of"]

SERVE = "serve"  # chat, completions, embeddings, models, Ollama's calls
FEEDBACK = "feedback"  # feedback without a receipt
READ = "read"  # metrics, lists, status
ADMIN = "admin"  # whatever changes something

PUBLIC = "public"
PROOF = "proof"

PLACE = "flytewheel.caller"  # in the ASGI scope


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks.

    Attributes:
        key_id: of the key that was given; None without one.
        account: id of the first key of its line: a rotated key is still the same caller. Rates and the sticky arm of
            callers without a user go by it.
        scopes: what the key may.
        limits: what it may use.
        limited: whether that is anything less than all; asked three times a request.
    """

    key_id: str | None = None
    account: str | None = None
    scopes: frozenset[str] = frozenset()
    limits: Limits = UNLIMITED
    limited: bool = field(init=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "limited", bool(self.limits))

    def may(self, scope: str) -> bool:
        """Whether the caller may do what needs `scope`."""
        return scope in self.scopes or scope in (PUBLIC, PROOF)


NOBODY = Caller()
ROOT = Caller(key_id="admin", account="admin", scopes=frozenset(SCOPES))
# Without a key, on a loopback that was opened on purpose.
LOCAL = Caller(key_id=None, account="loopback", scopes=frozenset((SERVE, FEEDBACK, READ)))


def caller_of(scope: MutableMapping[str, Any]) -> Caller:
    """Who sends this request: the front door has left it in the ASGI scope."""
    caller: Caller = scope.get(PLACE, NOBODY)
    return caller
