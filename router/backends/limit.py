"""Decides how many requests may run at one backend at the same time, so that more are refused at once and not after
minutes of waiting in its queue.

Additive increase, multiplicative decrease (Chiu and Jain 1989), as TCP's window: while requests begin to be answered
within `target_s` of being sent, the limit grows by one for each limit's worth of them; one that began later, or was
turned away as too many, cuts it. One cut answers for everything that was sent before it. What the limit settles at is
as many as the backend works on plus as many as it gets to within `target_s`, whatever model and machine it is.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class LimitRule:
    """`target_s` is how long a first token may take before there are too many; a person waits about 10 s (Nielsen)."""

    target_s: float = 10.0
    first: int = 64
    least: int = 4
    most: int = 1024
    cut: float = 0.7


class Limit:
    """How many may run; `clock` gives seconds."""

    def __init__(self, rule: LimitRule, clock: Callable[[], float]) -> None:
        self._rule = rule
        self._clock = clock
        self._cut_at = float("-inf")
        self.most = float(rule.first)

    def has_room(self, inflight: int) -> bool:
        """Whether one more may be sent while so many run."""
        return inflight < self.most

    def begun(self, sent_at: float, inflight: int) -> None:
        """One that was sent at `sent_at` begins to be answered now; `inflight` run, with it."""
        now = self._clock()
        if now - sent_at > self._rule.target_s:
            self._cut(sent_at, now)
        elif 2 * inflight >= self.most:  # a limit that nobody comes near says nothing about what would happen there
            self.most = min(self._rule.most, self.most + 1.0 / self.most)

    def turned_away(self, sent_at: float) -> None:
        """One that was sent at `sent_at` was refused as too many, or waited in vain."""
        self._cut(sent_at, self._clock())

    def _cut(self, sent_at: float, now: float) -> None:
        if sent_at >= self._cut_at:
            self._cut_at = now
            self.most = max(float(self._rule.least), self.most * self._rule.cut)
