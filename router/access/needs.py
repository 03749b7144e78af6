"""How a FastAPI route says who may call it: `dependencies=[needs(ADMIN)]`.

The front door reads it from the route before anything reads the body, and refuses for good what says nothing; here it
only makes the lock that the OpenAPI pages show.
"""

from __future__ import annotations

from typing import Any

from fastapi import Depends, Request
from fastapi.security import HTTPBearer
from starlette.requests import HTTPConnection

from router.access.callers import PROOF, PUBLIC, SCOPES, Caller, caller_of


class Needed(HTTPBearer):
    """The scope that a route needs."""

    def __init__(self, scope: str) -> None:
        super().__init__(
            scheme_name=f"{scope} key", description=f"an API key with the scope `{scope}`", auto_error=False
        )
        self.needed = scope

    async def __call__(self, request: HTTPConnection) -> None:
        """Nothing: the door has decided."""


class Open:
    """Says that a route needs no key (`PUBLIC`), or checks a proof of its own (`PROOF`)."""

    def __init__(self, scope: str) -> None:
        self.needed = scope

    async def __call__(self) -> None:
        """Nothing: the door has decided."""


def needs(scope: str) -> Any:
    """The dependency that declares a route's scope; exactly one a route.

    Raises:
        ValueError: no such scope.
    """
    if scope not in (*SCOPES, PUBLIC, PROOF):
        raise ValueError(f"scope {scope!r}: expected one of {', '.join((*SCOPES, PUBLIC, PROOF))}")
    return Depends(Open(scope) if scope in (PUBLIC, PROOF) else Needed(scope))


def read_need(dependencies: Any) -> str | None:
    """The scope that a route's dependencies declare; None where they declare none, or more than one."""
    found = {
        dependency.dependency.needed
        for dependency in dependencies or ()
        if isinstance(dependency.dependency, Needed | Open)
    }
    return found.pop() if len(found) == 1 else None


def get_caller(request: Request) -> Caller:
    """FastAPI's dependency for who calls."""
    return caller_of(request.scope)
