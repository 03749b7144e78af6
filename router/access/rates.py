"""Counts what keys and their users use a minute, in memory that all worker processes of a machine share.

A bucket is one number, the time at which it will be empty again (GCRA, ITU-T I.371 annex: the "theoretical arrival
time"): a request is let in while that time is no further ahead than the allowance, a minute's worth, and pushes it on
by its cost. So a bucket that is idle is a number in the past, which says as much as no bucket at all; where a set of
buckets is full, the one that is emptiest of all goes. Memory is bounded without losing a debt that matters.

The table is a file that every worker maps (`HOME/router/rates`), not a share of the limit for each: a client holds few
connections, each to one worker, and would meet a fraction of what it was promised. Two workers that count the same
bucket in the same microsecond may count one of the two; a limit is not an account. Several machines divide the limit
(`replicas`): load balancers spread over machines what they do not over processes. Users stand in it as keyed hashes.
"""

from __future__ import annotations

import hashlib
import math
import mmap
import os
import time
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

from router.access.callers import Caller
from router.refusals import RefusedError

_SETS, _WAYS = 8192, 8
_SIZE = _SETS * _WAYS * 16  # 1 MiB: a tag and a time for each bucket
_MINUTE_S = 60.0
_REQUESTS, _TOKENS, _USER_REQUESTS, _USER_TOKENS = b"r", b"t", b"u", b"v"

Headers = list[tuple[bytes, bytes]]


class Rates:
    """The allowances of keys with limits; a key without costs nothing.

    Args:
        path: of the shared table; None: one of this process alone.
        key: secret that hides who has a bucket, the same for all workers.
        replicas: machines that share the limits.
        clock: seconds, the same for all processes of the machine (`time.time`: it also outlives a restart).
    """

    def __init__(
        self, path: Path | None, key: bytes, *, replicas: int = 1, clock: Callable[[], float] = time.time
    ) -> None:
        self.replicas = replicas
        self._key = hashlib.sha256(b"flytewheel rates" + key).digest()
        self._clock = clock
        self._find_tag = lru_cache(maxsize=4096)(self._hash)
        memory = _open_table(path)
        self._tags = memoryview(memory).cast("Q")
        self._times = memoryview(memory).cast("d")

    def admit(self, caller: Caller) -> Headers:
        """Takes one request from the key's allowance; returns the `x-ratelimit-*` headers of the answer.

        Raises:
            RefusedError: 429, requests or tokens of the key are used up.
        """
        limits, account = caller.limits, caller.account or ""
        if not (limits.requests or limits.tokens):
            return []
        return self._admit(account, "key", (_REQUESTS, limits.requests), (_TOKENS, limits.tokens))

    def admit_user(self, caller: Caller, user: str) -> Headers:
        """Takes one request from the allowance of a user that the key's holder names, like `admit`.

        Raises:
            RefusedError: 429.
        """
        limits = caller.limits
        if not (limits.user_requests or limits.user_tokens):
            return []
        name = f"{caller.account}\x1f{user}"
        return self._admit(
            name, "user", (_USER_REQUESTS, limits.user_requests), (_USER_TOKENS, limits.user_tokens)
        )  # fmt: skip

    def charge(self, caller: Caller, user: str, tokens: int) -> None:
        """Takes the tokens of an answer that was given: a debt is let happen once, and refused from then on."""
        limits = caller.limits
        for kind, name, limit in (
            (_TOKENS, caller.account or "", limits.tokens),
            (_USER_TOKENS, f"{caller.account}\x1f{user}", limits.user_tokens),
        ):
            if limit and tokens > 0:
                place, empty_at = self._find(kind, name)
                self._times[place] = max(empty_at, self._clock()) + tokens * _MINUTE_S * self.replicas / limit

    def _admit(
        self, name: str, whose: str, requests: tuple[bytes, int | None], tokens: tuple[bytes, int | None]
    ) -> Headers:
        now, headers = self._clock(), []
        kind, limit = tokens
        if limit:
            _, empty_at = self._find(kind, name)
            ahead = max(0.0, empty_at - now)
            headers += _describe(b"tokens", limit, ahead)
            if ahead >= _MINUTE_S:
                raise _refuse(whose, "tokens", limit, ahead - _MINUTE_S, headers)
        kind, limit = requests
        if limit:
            place, empty_at = self._find(kind, name)
            step = _MINUTE_S * self.replicas / limit
            ahead = max(0.0, empty_at - now) + step
            if ahead > max(_MINUTE_S, step) + 1e-6:
                headers += _describe(b"requests", limit, ahead - step)
                raise _refuse(whose, "requests", limit, ahead - _MINUTE_S, headers)
            self._times[place] = now + ahead
            headers += _describe(b"requests", limit, ahead)
        return headers

    def _find(self, kind: bytes, name: str) -> tuple[int, float]:
        """The place of a bucket's time in the table, and the time; a new bucket takes the place of the emptiest."""
        tag = self._find_tag(kind, name)
        first = (tag % _SETS) * _WAYS * 2
        row = self._tags[first : first + 2 * _WAYS].tolist()
        if tag in row:
            place = first + row.index(tag) + 1
            return place, self._times[place]
        times = self._times[first : first + 2 * _WAYS].tolist()[1::2]
        place = first + 2 * times.index(min(times))
        self._tags[place] = tag
        self._times[place + 1] = 0.0
        return place + 1, 0.0

    def _hash(self, kind: bytes, name: str) -> int:
        text = name.encode(errors="surrogatepass")
        digest = hashlib.blake2b(text, digest_size=8, key=self._key, person=kind).digest()
        return int.from_bytes(digest, "little") or 1


def _open_table(path: Path | None) -> mmap.mmap:
    if path is None:
        return mmap.mmap(-1, _SIZE)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        if os.fstat(handle).st_size != _SIZE:
            os.ftruncate(handle, _SIZE)
        return mmap.mmap(handle, _SIZE)
    finally:
        os.close(handle)


def _describe(what: bytes, limit: int, ahead_s: float) -> Headers:
    """OpenAI's names, which its clients read."""
    left = max(0, math.floor(limit * (1 - ahead_s / _MINUTE_S) + 1e-6))
    return [
        (b"x-ratelimit-limit-" + what, b"%d" % limit),
        (b"x-ratelimit-remaining-" + what, b"%d" % left),
        (b"x-ratelimit-reset-" + what, b"%.3fs" % ahead_s),
    ]


def _refuse(whose: str, what: str, limit: int, wait_s: float, headers: Headers) -> RefusedError:
    wait = max(1, math.ceil(wait_s))
    return RefusedError(
        429,
        "rate_limit_error",
        f"the {whose} has used its {limit} {what} a minute; try again in {wait} s",
        "rate_limit_exceeded",
        [*headers, (b"retry-after", b"%d" % wait)],
    )
