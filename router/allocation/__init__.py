"""Arms given by allocations that learn: who has which, what the arms earned, told live and kept over restarts."""

from router.allocation.room import Allocation as Allocation

__all__ = ["Allocation"]
