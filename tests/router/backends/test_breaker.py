"""The breaker as a state machine: it never admits while it is open, and never more than one trial."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, precondition, rule

from router.backends.breaker import CLOSED, HALF_OPEN, OPEN, REFUSED, Breaker, BreakerRule

RULE = BreakerRule(failures=3, share=0.5, least=6, window_s=10.0, pause_s=1.0, longest_pause_s=8.0)


@dataclass
class Clock:
    now: float = 100.0

    def __call__(self) -> float:
        return self.now


@dataclass
class Model:
    """What the module's opening says, in the plainest words: every outcome with its time, nothing folded together."""

    clock: Clock
    state: str = CLOSED
    until: float = 0.0
    pause_s: float = RULE.pause_s
    row: int = 0
    trial: int | None = None
    present: set[int] = field(default_factory=set)  # requests whose outcome counts

    def open(self, seconds: float) -> None:
        self.state, self.until, self.row, self.trial = OPEN, self.clock.now + seconds, 0, None
        self.present.clear()

    def close(self) -> None:
        self.state, self.row, self.trial, self.pause_s = CLOSED, 0, None, RULE.pause_s
        self.present.clear()


class BreakerMachine(RuleBasedStateMachine):
    """Only failures in a row here (`least` is out of reach); the share is worked by hand below."""

    requests = Bundle("requests")

    def __init__(self) -> None:
        super().__init__()
        self.clock = Clock()
        self.breaker = Breaker(BreakerRule(failures=3, least=10**9, pause_s=1.0, longest_pause_s=8.0), self.clock)
        self.model = Model(self.clock)
        self.count = 0

    @rule(seconds=st.sampled_from([0.0, 0.1, 0.5, 1.0, 2.5, 8.0, 40.0]))
    def wait(self, seconds: float) -> None:
        self.clock.now += seconds

    @rule(target=requests)
    def ask(self) -> tuple[int, int]:
        self.count += 1
        model, ticket = self.model, self.breaker.admit()
        if model.state == CLOSED:
            assert ticket != REFUSED
            model.present.add(self.count)
        elif model.trial is None and self.clock.now >= model.until:
            assert ticket != REFUSED
            model.trial = self.count
            model.present.add(self.count)
        else:
            assert ticket == REFUSED
        return self.count, ticket

    @rule(request=consumes(requests))
    def succeed(self, request: tuple[int, int]) -> None:
        number, ticket = request
        self.breaker.succeed(ticket)
        if number in self.model.present:
            if self.model.trial is not None:
                self.model.close()
            else:
                self.model.present.discard(number)
                self.model.row = 0

    @rule(request=consumes(requests))
    def fail(self, request: tuple[int, int]) -> None:
        number, ticket = request
        model = self.model
        self.breaker.fail(ticket)
        if number in model.present:
            if model.trial is not None:
                model.pause_s = min(8.0, 2 * model.pause_s)
                model.open(model.pause_s)
            else:
                model.present.discard(number)
                model.row += 1
                if model.row == 3:
                    model.open(model.pause_s)

    @rule(request=consumes(requests), seconds=st.sampled_from([-1.0, 0.0, 3.0, 900.0]))
    def be_asked_to_wait(self, request: tuple[int, int], seconds: float) -> None:
        number, ticket = request
        self.breaker.pause(ticket, seconds)
        if number in self.model.present:
            self.model.open(min(8.0, max(0.0, seconds)))

    @rule(request=consumes(requests))
    def leave(self, request: tuple[int, int]) -> None:
        number, ticket = request
        self.breaker.withdraw(ticket)
        if number in self.model.present:
            self.model.present.discard(number)
            self.model.trial = None

    @precondition(lambda self: self.model.state == OPEN)
    @rule()
    def start_anew(self) -> None:
        self.breaker.reset()
        self.model.close()

    @invariant()
    def say_the_same(self) -> None:
        model = self.model
        passed = model.state == OPEN and (model.trial is not None or self.clock.now >= model.until)
        assert self.breaker.state == (HALF_OPEN if passed else model.state)
        assert self.breaker.wait_s == (0.0 if model.state == CLOSED else max(0.0, model.until - self.clock.now))


TestBreakerMachine = BreakerMachine.TestCase
TestBreakerMachine.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)


def test_half_of_the_outcomes_in_the_window_open_it_and_older_ones_do_not_count() -> None:
    """6 outcomes are enough. Good, bad, good, bad, good: 2 of 5 in the window; then a bad one: 3 of 6."""
    clock = Clock()
    breaker = Breaker(RULE, clock)
    for good in (True, False, True, False, True):
        (breaker.succeed if good else breaker.fail)(breaker.admit())
    clock.now += 20.0  # all of them left the window
    breaker.fail(breaker.admit())
    assert breaker.state == CLOSED
    for good in (True, False, True, False):
        (breaker.succeed if good else breaker.fail)(breaker.admit())
    assert breaker.state == CLOSED  # 3 of 5
    breaker.succeed(breaker.admit())
    assert breaker.state == CLOSED  # 3 of 6, and a success never opens it
    breaker.fail(breaker.admit())
    assert (breaker.state, breaker.wait_s, breaker.opened) == (OPEN, 1.0, 1)


def test_the_window_reaches_over_its_halves() -> None:
    clock = Clock()
    breaker = Breaker(RULE, clock)
    for good in (True, False, True, False):
        (breaker.succeed if good else breaker.fail)(breaker.admit())
    clock.now += 6.0  # into the next half of 5 s
    breaker.succeed(breaker.admit())
    breaker.fail(breaker.admit())
    assert breaker.state == OPEN


@pytest.mark.parametrize(("trials", "pause_s"), [(0, 1.0), (1, 2.0), (2, 4.0), (3, 8.0), (6, 8.0)])
def test_each_failed_trial_doubles_the_pause_up_to_the_longest(trials: int, pause_s: float) -> None:
    clock = Clock()
    breaker = Breaker(RULE, clock)
    for _ in range(3):
        breaker.fail(breaker.admit())
    for _ in range(trials):
        clock.now += breaker.wait_s
        breaker.fail(breaker.admit())
    assert breaker.wait_s == pytest.approx(pause_s)
