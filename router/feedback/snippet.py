"""`GET /v1/feedback.js`: what teams put on their pages, public and for any origin: a script is no secret.

The file is written to be read; it is sent without comment, indentation, and spaces beside signs. Strings and patterns
stay as they are, names too: what arrives can still be followed.
"""

from __future__ import annotations

import hashlib
import re
from functools import cache
from importlib.resources import files

from router.asgi import Receive, Scope, Send

LIMIT = 3_072  # bytes as sent

_COMMENT = re.compile(r"^\s*//.*\n", re.MULTILINE)
_LITERAL = re.compile(r"('[^'\n]*'|/\[\^[^\n/]*\]/g)")
_BESIDE = re.compile(r"[ ]*([{}()\[\],;:=<>?&|+\-*!])[ ]*")
_BREAK = re.compile(r"(?<=[{(\[,;&|])\n|\n(?=[})\]&|:])")


def shrink(source: str) -> str:
    """The script without what only people need."""
    plain = _COMMENT.sub("", source)
    plain = "\n".join(line.strip() for line in plain.splitlines() if line.strip())
    parts = _LITERAL.split(plain)
    parts[::2] = [_BREAK.sub("", _BESIDE.sub(r"\1", part)) for part in parts[::2]]
    return "".join(parts)


@cache
def read_snippet() -> tuple[bytes, bytes]:
    """The script as it is sent, and its ETag."""
    body = shrink((files("router") / "pages" / "feedback.js").read_text(encoding="utf-8")).encode()
    return body, b'"' + hashlib.sha256(body).hexdigest()[:32].encode() + b'"'


async def send_snippet(scope: Scope, receive: Receive, send: Send) -> None:
    """The ASGI endpoint."""
    body, tag = read_snippet()
    known = dict(scope["headers"]).get(b"if-none-match") == tag
    headers = [
        (b"content-type", b"text/javascript; charset=utf-8"),
        (b"etag", tag),
        (b"cache-control", b"public, max-age=3600"),
        (b"cross-origin-resource-policy", b"cross-origin"),
        (b"x-content-type-options", b"nosniff"),
    ]
    if not known:
        headers.append((b"content-length", b"%d" % len(body)))
    await send({"type": "http.response.start", "status": 304 if known else 200, "headers": headers})
    await send({"type": "http.response.body", "body": b"" if known or scope["method"] == "HEAD" else body})
