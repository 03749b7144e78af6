"""Lets a browser open the pages that need a key: it asks for one itself (HTTP Basic, RFC 7617) and sends it again.

The key is the password; the name is not looked at. Only reading pages under `/ui/` is let in so: a browser sends what
it remembers with every request to a place, whoever made it send that, and nothing that changes something may be reached
by such a request.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping

PLACE = "/ui/"
CHALLENGE = [(b"www-authenticate", b'Basic realm="flytewheel: an API key as the password", charset="UTF-8"')]
_BASIC = b"basic "


def reads_page(method: str, path: str) -> bool:
    """Whether a request is one that a browser makes by itself to show a page."""
    return method in ("GET", "HEAD") and path.startswith(PLACE)


def read_basic(headers: Mapping[bytes, bytes]) -> dict[bytes, bytes]:
    """The headers with the password as a bearer's key; as they are where there is no such password."""
    given = headers.get(b"authorization", b"")
    if given[: len(_BASIC)].lower() != _BASIC:
        return dict(headers)
    try:
        pair = base64.b64decode(given[len(_BASIC) :].strip(), validate=True)
    except (binascii.Error, ValueError):
        return dict(headers)
    return {**headers, b"authorization": b"Bearer " + pair.partition(b":")[2]}
