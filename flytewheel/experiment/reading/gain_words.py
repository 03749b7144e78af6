"""What a promotion has brought, in words: what the experiment saw, that without its luck, and what a holdback says."""

from __future__ import annotations

from flytewheel.experiment.gains import Gain
from flytewheel.experiment.reading.words import NAMES, say_number

HEADS = ("metric", "kept the old one", "have the new one", "held back, any look", "seen in the experiment", "corrected")


def row_gain(gain: Gain) -> tuple[str, ...]:
    """A line of a table with these heads."""
    interval = (
        "" if gain.low is None or gain.high is None else f" ({_sign(gain, gain.low)} to {_sign(gain, gain.high)})"
    )
    return (
        name_metric(gain),
        _rate(gain.before, gain.users[0]),
        _rate(gain.after, gain.users[1]),
        f"{_sign(gain, gain.held_back)}{interval}" if gain.held_back is not None else gain.reason,
        _sign(gain, gain.seen),
        _sign(gain, gain.corrected),
    )


def tell_gains(gains: tuple[Gain, ...], control: str, treatment: str) -> str:
    """A sentence about the first metric that a holdback can tell; empty where there is none."""
    found = next((gain for gain in gains if gain.held_back is not None and gain.low is not None), None)
    if found is None or found.held_back is None or found.low is None or found.high is None:
        return ""
    users = f"{found.users[0]:,} users who kept {control}"
    told = f"Since the promotion, against the {users}, {treatment}'s {name_metric(found)} is {_compare(found)}"
    if found.seen is not None and found.corrected is not None:
        told += f" (the experiment saw {_sign(found, found.seen)}, {_sign(found, found.corrected)} without its luck)"
    return told + "."


def name_metric(gain: Gain) -> str:
    """The metric as people call it."""
    return NAMES.get(gain.metric, gain.metric.replace("_", " "))


def _compare(gain: Gain) -> str:
    low, high, middle = gain.low or 0.0, gain.high or 0.0, gain.held_back or 0.0
    between = f"{_sign(gain, low)} to {_sign(gain, high)} at any look"
    if low > 0 or high < 0:
        return f"{'higher' if low > 0 else 'lower'} by {_plain(gain, abs(middle))}, {between}"
    return f"not yet told from the old one's: {between}"


def _sign(gain: Gain, value: float | None) -> str:
    if value is None:
        return ""
    return f"{'−' if value < 0 else '+'}{_plain(gain, abs(value))}"


def _plain(gain: Gain, value: float) -> str:
    share = abs(gain.before if gain.before is not None else 0.0) <= 1
    return f"{say_number(100 * value)} points" if share else say_number(value)


def _rate(value: float | None, users: int) -> str:
    if value is None:
        return f"{users:,} users"
    shown = f"{say_number(100 * value)} %" if abs(value) <= 1 else say_number(value)
    return f"{shown} of {users:,} users"
