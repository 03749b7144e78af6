"""Tells which of a backend's 500s are the client's own fault.

llama.cpp, and Ollama in front of it, answer 500 to a request that they cannot read: an image for a model without eyes,
a tool of an unknown type, a schema that is none. Taken for a failure it would count against the version, send the
request to the control as well, and open the breaker: anybody with a key could make a healthy version look broken. So
what llama.cpp says while it reads a request is known by its words; whatever says something else is its own failure.
"""

from __future__ import annotations

import re

_READING = re.compile(
    r"(image|audio|video) input is not supported"
    r"|^failed to parse|^failed to (load|download|decode) (image|audio|video|base64)"
    r"|^failed to (tokenize|format input|initialize samplers)"
    r"|json\.exception|^json_schema|json schema|unsupported (tool|content|type|message)|unrecognized schema"
    r"|^(missing|expected|unexpected|unknown|cannot use|invalid (type|value|role|message|tool|content|diff|grammar))"
    r"|is not supported|is too large to process|not supported by|must be |is required|chat template|jinja",
    re.IGNORECASE,
)


def is_clients_fault(said: str) -> bool:
    """Whether a backend that answered 500 with this line says that it could not read the request."""
    return _READING.search(said) is not None
