"""How the object store's client speaks HTTP: how long it waits, what it repeats, and what its errors mean."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator
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
POOL = 10  # connections kept: a probe races eight


class OtherBytes(Exception):  # noqa: N818 - it ends an upload, and is no fault of the store's
    """A stream is not the one that was announced."""


class HashedReader:
    """A readable stream of `size` bytes that hashes what is read from it.

    With `sha256`, the read that completes other bytes, or comes short of them, raises `OtherBytes` instead: whoever
    sends what is read has not sent it all by then.
    """

    def __init__(self, stream: BinaryIO, *, size: int, sha256: str | None, told: Callable[[int], None] | None) -> None:
        self._stream = stream
        self._left = size
        self._sha256 = sha256
        self._told = told
        self._digest = hashlib.sha256()

    def read(self, size: int = -1) -> bytes:
        data = self._stream.read(size)
        self._digest.update(data)
        self._left -= len(data)
        ended = self._left <= 0 or not data
        if self._sha256 is not None and ended and (self._left or self.hexdigest() != self._sha256):
            raise OtherBytes
        if self._told is not None:
            self._told(len(data))
        return data

    def hexdigest(self) -> str:
        return self._digest.hexdigest()


def open_pool(read_timeout_s: float) -> urllib3.PoolManager:
    """A connection pool that gives up soon and repeats only what may be repeated."""
    return urllib3.PoolManager(
        timeout=urllib3.Timeout(connect=CONNECT_TIMEOUT_S, read=read_timeout_s),
        maxsize=POOL,
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
