"""How the object store's client speaks HTTP: how long it waits, what it repeats, and what its errors mean."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO

import urllib3
from urllib3.exceptions import (
    ConnectTimeoutError,
    MaxRetryError,
    NameResolutionError,
    NewConnectionError,
    ReadTimeoutError,
)

CONNECT_TIMEOUT_S = 2.0
RACERS = 8  # conditional writes at once, when a store is probed


class HashedReader:
    """A readable stream that hashes what is read from it."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._digest = hashlib.sha256()

    def read(self, size: int = -1) -> bytes:
        data = self._stream.read(size)
        self._digest.update(data)
        return data

    def hexdigest(self) -> str:
        return self._digest.hexdigest()


def open_pool(read_timeout_s: float) -> urllib3.PoolManager:
    """A connection pool that gives up soon and repeats only what may be repeated."""
    return urllib3.PoolManager(
        timeout=urllib3.Timeout(connect=CONNECT_TIMEOUT_S, read=read_timeout_s),
        maxsize=RACERS + 2,
        retries=urllib3.Retry(
            total=1, connect=1, read=1, redirect=0, status=0, other=0, allowed_methods=frozenset({"GET", "HEAD"})
        ),
        cert_reqs="CERT_REQUIRED",
        ca_certs=os.environ.get("SSL_CERT_FILE") or None,
    )


@contextmanager
def released(response: Any) -> Iterator[None]:
    try:
        yield
    finally:
        response.close()
        response.release_conn()


def name_cause(error: BaseException) -> str:
    """The cause of a transport error in a few words."""
    if isinstance(error, MaxRetryError) and error.reason is not None:
        error = error.reason
    if isinstance(error, NameResolutionError):
        return "no such host"
    if isinstance(error, NewConnectionError):
        return one_line(error).rsplit(": ", 1)[-1]
    if isinstance(error, ConnectTimeoutError):
        return f"no connection within {CONNECT_TIMEOUT_S:g} s"
    if isinstance(error, ReadTimeoutError):
        return "connected, but no answer in time"
    return one_line(error)


def one_line(value: object) -> str:
    return " ".join(str(value).split())[:200]
