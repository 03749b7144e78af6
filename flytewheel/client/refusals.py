"""What can go wrong between an application and the router."""

from __future__ import annotations

from flytewheel.errors import RouterError


class RefusedError(RouterError):
    """The router refused; sending the same again would be refused again.

    Attributes:
        status: of HTTP: 401 no key or receipt, 403 not yours or expired, 404 unknown, 409 the id stands for another
            event, 413 too large, 422 what the message says.
    """

    def __init__(self, status: int, message: str) -> None:
        super().__init__(f"{status}: {message}")
        self.status = status


class UnreachableError(RouterError):
    """The router was away, or too busy, in all attempts; nobody knows whether the last one arrived."""
