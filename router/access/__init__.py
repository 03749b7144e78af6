"""Who may ask what of the router, and how much: callers and their keys, scopes, rates, and what a body may be."""

from router.access.opening import open_access

__all__ = ["open_access"]
