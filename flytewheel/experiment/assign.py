"""Decides which arm a user meets: sticky, salted by experiment, and monotone in the share.

u = HMAC-SHA256(key, experiment ‖ 0x00 ‖ user) / 2²⁵⁶, treatment if u < share (DESIGN §7). A user keeps the arm for as
long as the experiment runs, in every process that knows the key; another experiment shuffles anew; a larger share only
moves users from control to treatment. Python's own `hash()` is salted per process and would do none of this. The zero
byte keeps ("a", "bc") and ("ab", "c") apart. Departure: u is cut to its leading 53 bits, because the plain division
rounds to 1.0 at the top end and a share of 1 must hold for everyone.

The HMAC (RFC 2104) is made of two SHA-256 states that have taken in key and experiment already and are copied for each
user, so that a draw costs about what one keyed HMAC does (`benchmarks.assignment`). For analysis the same function is
`draw_unit` in PostgreSQL (migrations/) and `draw_column` in Polars.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from functools import lru_cache
from typing import TYPE_CHECKING, Literal

from msgspec import Struct

from flytewheel.errors import ExperimentError

if TYPE_CHECKING:
    import polars

Arm = Literal["control", "treatment"]
State = Callable[[], "hashlib._Hash"]

_BLOCK = 64  # bytes that SHA-256 takes in at a time
_INNER, _OUTER = 0x36, 0x5C
_BITS = 53  # of a double's mantissa
_STEP = 2.0**-_BITS


class Assignment(Struct, frozen=True, gc=False):
    """The arm a user meets. `u` is in [0, 1); `propensity`, in (0, 1], is the probability of that arm."""

    arm: Arm
    u: float
    propensity: float


def draw_unit(key: bytes, experiment_id: str, user_id: str) -> float:
    """The user's place in [0, 1) within the experiment: the leading 53 bits of the HMAC over 2⁵³."""
    begin, finish = _absorb(key, experiment_id)
    inner = begin()
    inner.update(user_id.encode())
    outer = finish()
    outer.update(inner.digest())
    return (int.from_bytes(outer.digest()[:7]) >> 3) * _STEP  # 56 bits, less three


def choose_arm(key: bytes, experiment_id: str, user_id: str, share: float) -> Assignment:
    """Chooses the arm of `user_id`; `share`, in [0, 1], is the treatment's part of the users.

    Raises:
        ExperimentError: the share is outside [0, 1], or not a number.
    """
    if not 0.0 <= share <= 1.0:
        raise ExperimentError(f"share {share!r} of {experiment_id}: expected a number in [0, 1]")
    u = draw_unit(key, experiment_id, user_id)
    if u < share:
        return Assignment("treatment", u, share)
    return Assignment("control", u, 1.0 - share)


def draw_column(users: polars.Expr, *, key: bytes, experiment_id: str) -> polars.Expr:
    """`draw_unit` of a column of user ids, as Polars' Float64; null where the user is."""
    import polars as pl

    return users.map_elements(
        lambda user: draw_unit(key, experiment_id, user), return_dtype=pl.Float64, skip_nulls=True
    )


@lru_cache(maxsize=256)
def _absorb(key: bytes, experiment_id: str) -> tuple[State, State]:
    return absorb(key, f"{experiment_id}\0".encode())


def absorb(key: bytes, begun: bytes = b"") -> tuple[State, State]:
    """An HMAC-SHA256 made ready: what makes copies of its inner state behind the key and `begun`, and of its outer
    state behind the key. The code of a message is the outer one's digest over the inner one's over the message.
    """
    block = (key if len(key) <= _BLOCK else hashlib.sha256(key).digest()).ljust(_BLOCK, b"\0")
    inner = hashlib.sha256(bytes(byte ^ _INNER for byte in block) + begun)
    return inner.copy, hashlib.sha256(bytes(byte ^ _OUTER for byte in block)).copy
