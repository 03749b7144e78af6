"""The chat path, in the order of a request: `call` reads it, `opening` finds who answers, `relay` passes the answer on,
`remembering` keeps what was said.
"""

from router.proxy.endpoint import ChatProxy

__all__ = ["ChatProxy"]
