"""What becomes of an event, as its sender is told."""

from __future__ import annotations

from typing import Literal

from flytewheel.errors import RouterError

Outcome = Literal["stored", "duplicate", "conflict", "unknown"]


class LogFullError(RouterError):
    """The database is away, and the spool is full or cannot be written: nothing can be promised."""
