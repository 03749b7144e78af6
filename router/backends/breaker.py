"""Decides whether a backend that failed is asked again: a circuit breaker, after Nygard's *Release It!* (2007).

Closed, everything is admitted. It opens after `failures` failures one after the other, or when `share` of the outcomes
of the last `window_s` seconds were failures, or for as long as the backend itself asks by `Retry-After`. After a pause
it is half-open: one request is let through as a trial. If that succeeds it closes; if it fails it opens again, for
twice as long each time.

Admission is a ticket, and an outcome counts only with a ticket of the present phase: what was sent before the breaker
opened says nothing about the trial. A request that ends without an outcome (its client left) gives its ticket back.

The window is two halves of which the older one is dropped whole: exact to half its length, and a few integers instead
of a list of times. Times are seconds of the clock that is passed in.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

CLOSED, OPEN, HALF_OPEN = "closed", "open", "half-open"
REFUSED = 0  # no ticket


@dataclass(frozen=True, slots=True)
class BreakerRule:
    """When it opens, and for how long.

    `failures` and the pause are Envoy's defaults for outlier detection (5 in a row; its 30 s are the longest here,
    since a model that comes back after a second should be asked after a second).
    """

    failures: int = 5
    share: float = 0.5
    least: int = 20
    window_s: float = 10.0
    pause_s: float = 1.0
    longest_pause_s: float = 30.0


class Breaker:
    """The record of one backend, as one process sees it; `tell` hears when it opens (true) and closes (false)."""

    def __init__(
        self, rule: BreakerRule, clock: Callable[[], float], tell: Callable[[bool], None] = lambda opened: None
    ) -> None:
        self._rule = rule
        self._clock = clock
        self._tell = tell
        self._closed = True
        self._phase = REFUSED
        self.opened = 0
        self.reset()

    @property
    def state(self) -> str:
        """closed, open or half-open (also where the pause is over and nobody has asked since)."""
        if self._closed:
            return CLOSED
        return HALF_OPEN if self._trial or self._clock() >= self._until else OPEN

    @property
    def wait_s(self) -> float:
        """Seconds until a request may be admitted again; 0 where one may be now, or a trial is under way."""
        return 0.0 if self._closed else max(0.0, self._until - self._clock())

    def reset(self) -> None:
        """Forgets everything: another process, or another loading, stands there now."""
        if not self._closed:
            self._tell(False)
        self._closed, self._trial = True, False
        self._until = 0.0
        self._pause_s = self._rule.pause_s
        self._row = 0
        self._half = self._clock()
        self._good = self._bad = self._good_before = self._bad_before = 0
        self._phase += 1

    def admit(self) -> int:
        """A ticket to send one request by, or `REFUSED`."""
        if self._closed:
            return self._phase
        if self._trial or self._clock() < self._until:
            return REFUSED
        self._trial = True
        return self._phase

    def succeed(self, ticket: int) -> None:
        """The request was answered."""
        if ticket != self._phase:
            return
        if self._trial:
            self.reset()
            return
        self._row = 0
        self._turn()
        self._good += 1

    def fail(self, ticket: int) -> None:
        """The backend failed it."""
        if ticket != self._phase:
            return
        rule = self._rule
        if self._trial:
            self._pause_s = min(rule.longest_pause_s, 2 * self._pause_s)
            self._open(self._pause_s)
            return
        self._row += 1
        self._turn()
        self._bad += 1
        bad, all_ = self._bad + self._bad_before, self._bad + self._bad_before + self._good + self._good_before
        if self._row >= rule.failures or (all_ >= rule.least and bad >= rule.share * all_):
            self._open(self._pause_s)

    def pause(self, ticket: int, seconds: float) -> None:
        """The backend asked not to be asked for so long."""
        if ticket == self._phase:
            self._open(min(self._rule.longest_pause_s, max(0.0, seconds)))

    def withdraw(self, ticket: int) -> None:
        """The request ended without an outcome."""
        if ticket == self._phase:
            self._trial = False

    def _open(self, seconds: float) -> None:
        if self._closed:
            self._tell(True)
        self._closed, self._trial = False, False
        self._until = self._clock() + seconds
        self._phase += 1
        self.opened += 1

    def _turn(self) -> None:
        """Drops outcomes that left the window."""
        now, half_s = self._clock(), self._rule.window_s / 2
        if now - self._half >= half_s:
            kept = now - self._half < 2 * half_s
            self._good_before, self._bad_before = (self._good, self._bad) if kept else (0, 0)
            self._good = self._bad = 0
            self._half = now
