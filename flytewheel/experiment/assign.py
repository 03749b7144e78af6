"""Decides which arm a user meets: sticky, salted by experiment, and monotone in the share.

u = HMAC-SHA256(key, experiment ‖ 0x00 ‖ user) / 2²⁵⁶, treatment if u < share (DESIGN §7). A user keeps the arm for as
long as the experiment runs, in every process that knows the key; another experiment shuffles anew; a larger share only
moves users from control to treatment. Python's own `hash()` is salted per process and would do none of this. The zero
byte keeps ("a", "bc") and ("ab", "c") apart. Departure: u is cut to its leading 53 bits, because the plain division
rounds to 1.0 at the top end and a share of 1 must hold for everyone.
"""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass
from typing import Literal

from flytewheel.errors import ExperimentError

Arm = Literal["control", "treatment"]

_BITS = 53  # of a double's mantissa


@dataclass(frozen=True, slots=True)
class Assignment:
    """The arm a user meets. `u` is in [0, 1); `propensity`, in (0, 1], is the probability of that arm."""

    arm: Arm
    u: float
    propensity: float


def draw_unit(key: bytes, experiment_id: str, user_id: str) -> float:
    """The user's place in [0, 1) within the experiment: the leading 53 bits of the HMAC over 2⁵³."""
    code = hmac.new(key, f"{experiment_id}\0{user_id}".encode(), hashlib.sha256).digest()
    return (int.from_bytes(code) >> (256 - _BITS)) / 2.0**_BITS


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
