"""The limit against a queue worked by hand: it settles where the first token comes within the target."""

from __future__ import annotations

import heapq

import pytest

from router.backends.limit import Limit, LimitRule


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_it_grows_by_one_for_each_limits_worth_and_only_where_it_is_used() -> None:
    """Each of ten answers adds 1/limit to 10; d(limit)/dn = 1/limit gives √(10² + 2 × 10) = 10.954."""
    clock = Clock()
    limit = Limit(LimitRule(first=10), clock)
    for _ in range(10):
        limit.begun(clock.now, inflight=4)
    assert limit.most == 10.0
    for _ in range(10):
        limit.begun(clock.now, inflight=9)
    assert limit.most == pytest.approx(10.954, abs=0.01)


def test_one_cut_answers_for_all_that_was_sent_before_it() -> None:
    clock = Clock()
    limit = Limit(LimitRule(target_s=10, first=100, cut=0.5, least=30), clock)
    clock.now = 11.0
    for sent_at in (0.0, 0.1, 0.5):
        limit.begun(sent_at, inflight=100)
    assert limit.most == 50.0
    limit.turned_away(10.9)
    assert limit.most == 50.0
    limit.turned_away(11.0)
    assert limit.most == 30.0  # never below the least
    assert limit.has_room(29)
    assert not limit.has_room(30)


@pytest.mark.parametrize(("slots", "work_s", "target_s"), [(1, 2.0, 10.0), (4, 1.0, 10.0), (16, 0.5, 3.0)])
def test_behind_a_queue_it_settles_at_what_begins_within_the_target(slots: int, work_s: float, target_s: float) -> None:
    """`slots` workers of `work_s` each begin slots × target / work requests within the target, and work on as many as
    slots: the limit lies around the sum, between two cuts below and a little above.
    """
    clock = Clock()
    limit = Limit(LimitRule(target_s=target_s), clock)
    fits = slots * target_s / work_s + slots
    waiting: list[float] = []
    running: list[tuple[float, float]] = []
    seen: list[float] = []
    for step in range(40_000):
        clock.now += work_s / (20 * slots)
        while running and running[0][0] <= clock.now:
            heapq.heappop(running)
        while limit.has_room(len(waiting) + len(running)):  # everybody wants it
            waiting.append(clock.now)
        while waiting and len(running) < slots:
            sent_at = waiting.pop(0)
            heapq.heappush(running, (clock.now + work_s, sent_at))
            limit.begun(sent_at, len(waiting) + len(running))
        if step > 10_000:
            seen.append(limit.most)
    assert 0.45 * fits < min(seen)
    assert max(seen) < 1.25 * fits
